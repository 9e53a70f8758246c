/* phrase: pieces made of bars, whose phrases begin where they are made to begin. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "root/analysis/phrase.h"
#include "root/analysis/timbre.h"

#define MOST 400

static uint32_t state;

static int below(int n)
{
    state = state * 1664525u + 1013904223u;
    return (int)((uint64_t)(state >> 8) * (uint32_t)n >> 24);
}

/* Parts of 8 or 16 bars in which instruments come and go; every bar a little different. `first`: the bar at
 * which the first whole part begins. strength: what a change of part changes, in steps of the levels. */
static void compose(struct bar *bars, size_t count, size_t first, int strength, int whole16)
{
    int low = 60, high = 80, onsets = 12, root = 0;
    for (size_t b = 0; b < count; b++) {
        size_t place = b + 16 - first % 16;
        if (place % 16 == 0 || (place % 8 == 0 && !whole16)) {
            low = 60 + strength * below(3);
            high = 80 + strength * below(3);
            onsets = 12 + strength * below(4) / 4;
            root = below(12);
        }
        struct bar *bar = &bars[b];
        memset(bar, 0, sizeof *bar);
        bar->loudness = (uint8_t)(60 + below(4));
        bar->low = (uint8_t)(low + below(4));
        bar->mid = (uint8_t)(70 + below(4));
        bar->high = (uint8_t)(high + below(4));
        bar->onsets = (uint8_t)(onsets + below(3));
        /* four chords over four bars */
        int chord = (root + (int)(place % 4) * 5) % 12;
        bar->chroma[chord] = bar->bass_chroma[chord] = (uint8_t)(200 + below(30));
        bar->chroma[(chord + 7) % 12] = (uint8_t)(150 + below(30));
    }
}

static struct phrases hear(const struct bar *bars, size_t count)
{
    static double start_s[MOST];
    struct series texture = {0};
    for (size_t b = 0; b < count; b++) {
        start_s[b] = (double)b / TEXTURE_RATE;
        for (int d = 0; d < TEXTURE_DIMS; d++)
            series_push(&texture, (float)below(100) / 1000);
    }
    struct barrows rows = barrows_make(bars, count, &texture, start_s, (double)count / TEXTURE_RATE);
    struct phrases phrases = phrases_find(&rows);
    barrows_free(&rows);
    series_free(&texture);
    return phrases;
}

static void test_every_phase(void **unused)
{
    (void)unused;
    static struct bar bars[MOST];
    int right16 = 0;
    for (int first = 0; first < 16; first++) {
        state = 77 + (uint32_t)first;
        compose(bars, 96, (size_t)first, 16, 0);
        struct phrases found = hear(bars, 96);
        if (found.first8 != first % 8)
            fail_msg("phrases that begin at bar %d are heard at %d", first, found.first8);
        assert_true(found.confidence > 0.5 && found.confidence <= 1);
        assert_true(found.first16 == first % 8 || found.first16 == first % 8 + 8);
        compose(bars, 160, (size_t)first, 16, 1);
        found = hear(bars, 160);
        assert_int_equal(found.first8, first % 8);
        right16 += found.first16 == first;
    }
    assert_true(right16 >= 15);
}

/* Where nothing tells, the first bar is taken, and nobody should rely on it. */
static void test_nothing_to_hear(void **unused)
{
    (void)unused;
    static struct bar bars[MOST];
    double sum = 0;
    for (uint32_t seed = 0; seed < 10; seed++) {
        state = seed;
        compose(bars, 96, 3, 0, 1);
        for (int b = 0; b < 96; b++) {
            memset(bars[b].chroma, 0, sizeof bars[b].chroma);
            memset(bars[b].bass_chroma, 0, sizeof bars[b].bass_chroma);
        }
        sum += hear(bars, 96).confidence / 10;
    }
    if (!(sum < 0.35)) fail_msg("the mean confidence in nothing is %.2f", sum);
    memset(bars, 0, sizeof bars);
    struct barrows same = {calloc(96, sizeof *same.row), 96};
    struct phrases found = phrases_find(&same);
    assert_int_equal(found.first8, 0);
    assert_true(found.confidence < 0.5);
    same.count = 15;
    found = phrases_find(&same);
    assert_int_equal(found.first8, -1);
    assert_int_equal(found.first16, -1);
    same.count = 20;
    assert_int_equal(phrases_find(&same).first16, -1);
    barrows_free(&same);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_phase),
        cmocka_unit_test(test_nothing_to_hear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
