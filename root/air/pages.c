/* pages: the site. Its files are part of the program (root/web), so a root is one file to copy and serves the
 * pages of its own version. */
#include <stdio.h>
#include <string.h>

#include "common/http.h"
#include "root/air/air.h"

/* The assembler includes the file as it is; paths are from the top of the tree, where the compiler runs. */
/* NOLINTBEGIN(bugprone-macro-parentheses): path is joined to other literals */
#define EMBED(symbol, path)                                                                                  \
    __asm__(".section .rodata\n"                                                                             \
            ".global " #symbol "\n"                                                                          \
            ".balign 16\n" #symbol ":\n"                                                                     \
            ".incbin \"" path "\"\n"                                                                         \
            ".global " #symbol "_end\n" #symbol "_end:\n"                                                    \
            ".byte 0\n"                                                                                      \
            ".previous\n");                                                                                  \
    extern const char symbol[], symbol##_end[];
/* NOLINTEND(bugprone-macro-parentheses) */

EMBED(page_index, "root/web/index.html")
EMBED(page_dashboard, "root/web/dashboard.html")
EMBED(page_nodes_js, "root/web/nodes.js")
EMBED(page_player_js, "root/web/player.js")
EMBED(page_dashboard_js, "root/web/dashboard.js")
EMBED(page_relays_js, "root/web/relays.js")
EMBED(page_style, "root/web/style.css")
EMBED(page_icon, "root/web/icon.svg")

static const struct page {
    const char *path, *type, *begin, *end;
} pages[] = {
    {"/", "text/html; charset=utf-8", page_index, page_index_end},
    {"/dashboard", "text/html; charset=utf-8", page_dashboard, page_dashboard_end},
    {"/nodes.js", "text/javascript; charset=utf-8", page_nodes_js, page_nodes_js_end},
    {"/player.js", "text/javascript; charset=utf-8", page_player_js, page_player_js_end},
    {"/dashboard.js", "text/javascript; charset=utf-8", page_dashboard_js, page_dashboard_js_end},
    {"/relays.js", "text/javascript; charset=utf-8", page_relays_js, page_relays_js_end},
    {"/style.css", "text/css; charset=utf-8", page_style, page_style_end},
    {"/icon.svg", "image/svg+xml", page_icon, page_icon_end},
    {"/favicon.ico", "image/svg+xml", page_icon, page_icon_end},
};

/* media-src and connect-src are wide because a listener may be sent to a relay, or ask one, whose addresses
 * were not known when the page was made. */
#define POLICY                                                                                               \
    "default-src 'self'; media-src 'self' http: https:; connect-src 'self' http: https:; frame-ancestors "   \
    "'self'; base-uri 'none'; "                                                                              \
    "form-action 'none'"

/* FNV-1a: enough to tell two versions of a page apart. */
static void make_tag(const struct page *page, char tag[24])
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (const char *c = page->begin; c < page->end; c++)
        hash = (hash ^ (unsigned char)*c) * UINT64_C(1099511628211);
    snprintf(tag, 24, "\"%016llx\"", (unsigned long long)hash);
}

static void on_page(void *context, struct http_request *request)
{
    (void)context;
    const struct page *page = NULL;
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
        if (!strcmp(pages[i].path, http_path(request))) page = &pages[i];
    }
    if (!page) {
        http_reply_error(request, 404, "no such page");
        return;
    }
    char tag[24];
    make_tag(page, tag);
    http_add_header(request, "ETag", tag);
    http_add_header(request, "Cache-Control",
                    "no-cache"); /* kept, but asked about: an upgrade shows at once */
    http_add_header(request, "Content-Security-Policy", POLICY);
    http_add_header(request, "Referrer-Policy", "no-referrer");
    const char *known = http_header(request, "if-none-match");
    if (known && strstr(known, tag))
        http_reply(request, 304, NULL, NULL, 0);
    else
        http_reply(request, 200, page->type, page->begin, (size_t)(page->end - page->begin));
}

void pages_routes(struct http_server *http)
{
    static const struct http_route routes[] = {
        {HTTP_GET, "/", on_page, 0, "the player"},   {HTTP_GET, "/dashboard", on_page, 0, "the dashboard"},
        {HTTP_GET, "/nodes.js", on_page, 0, ""},     {HTTP_GET, "/player.js", on_page, 0, ""},
        {HTTP_GET, "/dashboard.js", on_page, 0, ""}, {HTTP_GET, "/relays.js", on_page, 0, ""},
        {HTTP_GET, "/style.css", on_page, 0, ""},    {HTTP_GET, "/icon.svg", on_page, 0, ""},
        {HTTP_GET, "/favicon.ico", on_page, 0, ""},
    };
    http_server_routes(http, routes, sizeof routes / sizeof *routes, NULL);
}
