/* sampler: air's side of the statistics over time and of the ledger. Every 10 s by the wall clock what each
 * relay, the root and the cluster were like in the last 10 s goes to the store, with the ledger's news; some
 * hundred relays at a time, a quarter of a second apart, so that ten thousand of them are not felt. Air never
 * waits: while the store is away the stretch is missing.
 *
 * Samples are of what came to pass between two looks at a node. When the last look is not 10 s old (the root
 * or the relay was away, the clock jumped), there is no sample. */
#ifndef FOREVER_ROOT_AIR_SAMPLER_H
#define FOREVER_ROOT_AIR_SAMPLER_H
#include <stdint.h>
#include <jansson.h>

#include "root/air/books.h"

struct air;
struct http_request;
struct json_flat;
struct json_write;
struct sampler;

/* Names in the store of what is no relay; those begin with a letter or a digit. */
#define SAMPLER_CLUSTER "*"
#define SAMPLER_ROOT    "."

struct sampler *sampler_new(struct air *air);
void sampler_free(struct sampler *sampler);
struct books *sampler_books(struct sampler *sampler);
/* Four times a second. */
void sampler_tick(struct sampler *sampler);
/* Before the workers are told to end: what the ledger has and the store not goes there. */
void sampler_flush(struct sampler *sampler);
/* A store serves: it is asked for the ledger, if that has not come yet. */
void sampler_store_up(struct sampler *sampler);
/* A report was taken: books it (NULL: it was an old one, and changes nothing), and puts into the answer what
 * it tells of the ledger. */
void sampler_report(struct sampler *sampler, const char *name, const struct json_flat *report,
                    struct json_write *answer);

/* The operator has removed the relay: its ledger goes, here and in the store. */
void sampler_forget(struct sampler *sampler, const char *name);

struct sampler_counts {
    uint64_t batches, missed, refused; /* sent; stretches that were not; questions turned away */
};
const struct sampler_counts *sampler_counts(const struct sampler *sampler);

/* /api/series */
void sampler_routes(struct sampler *sampler);

#endif
