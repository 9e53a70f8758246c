/* A test's folder and all in it, removed. */
#ifndef FOREVER_TESTS_UNIT_REMOVE_TREE_H
#define FOREVER_TESTS_UNIT_REMOVE_TREE_H
#include <ftw.h>
#include <stdio.h>

static inline int remove_tree_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

/* Links are not followed. 0, or what failed is left. */
static inline int remove_tree(const char *folder)
{
    return nftw(folder, remove_tree_one, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
