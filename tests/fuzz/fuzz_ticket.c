/* Any text as a ticket, any JSON as what a root says of tickets: neither is let in by chance. */
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/ticket.h"
#include "relay/admission.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static const unsigned char key[TICKET_KEY_BYTES] = "of a root that signed none";
    struct ticket_signer *signer = ticket_signer_new();
    struct admission *admission = admission_new(40);
    char *text = xstrndup((const char *)bytes, len), again[TICKET_TEXT];
    unsigned char read[TICKET_KEY_BYTES];
    struct ticket ticket;
    /* one that reads is written in the one way there is, but for its signature */
    if (!ticket_read(text, &ticket)) {
        if (ticket_sign(signer, key, &ticket, again) || strncmp(again, text, 22) != 0) abort();
        if (ticket_is_true(signer, key, text) != !strcmp(again, text)) abort();
    }
    if (!ticket_key_read(text, read)) {
        char written[TICKET_KEY_TEXT];
        ticket_key_write(read, written);
        if (strcmp(written, text) != 0) abort();
    }
    json_t *answer = json_parse(bytes, len, 4096, NULL);
    admission_answered(admission, answer, 1000000000);
    json_decref(answer);
    if (admission_judge(admission, text, 39, 2000000000) == ADMISSION_TICKET) abort();
    admission_taken(admission, text, 0, 2000000000);
    json_decref(admission_json(admission));
    free(text);
    admission_free(admission);
    ticket_signer_free(signer);
    return 0;
}
