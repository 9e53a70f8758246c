/* forever-crate: a small crate of synthesised dance tracks, as WAV files with tags.
 *
 * Serves where no music can be fetched, and where a test needs truth: tempo, key and every beat are exact and
 * written beside each file (NAME.beats: seconds and beat in bar, a line each). The same seed gives the same
 * bytes. Each track has kick, clap, hats, bass, chords and a lead over a four-chord progression, arranged in
 * intro, main, breakdown, drop and outro of whole bars, at a tempo of its own. */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

#define RATE 44100
#define TAU  6.283185307179586

struct random {
    uint64_t state;
};

static uint32_t random_next(struct random *r) /* SplitMix64 (Steele, Lea, Flood 2014), upper half */
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ z >> 31) >> 32);
}

static double random_unit(struct random *r)
{
    return random_next(r) / 4294967296.0;
}

static int random_below(struct random *r, int n)
{
    return (int)(random_unit(r) * n);
}

struct track {
    double bpm, lead_in_s; /* silence before the first beat */
    int tonic, minor;      /* 0 = C */
    int bars;
    const int (*chords)[4];
    int hat_pattern, bass_pattern;
    double bass_cut, pad_level;
    char title[64], artist[64];
};

/* scale degrees of four-bar progressions, in semitones above the tonic */
static const int minor_progressions[][4] = {{0, 8, 3, 10}, {0, 5, 8, 7}, {0, 3, 10, 5}, {0, 10, 8, 7}};
static const int major_progressions[][4] = {{0, 7, 9, 5}, {0, 5, 9, 7}, {0, 9, 5, 7}, {5, 7, 0, 9}};

/* what plays in a bar */
enum { KICK = 1, CLAP = 2, HAT = 4, BASS = 8, PAD = 16, LEAD = 32 };

static int bar_parts(const struct track *t, int bar)
{
    double x = (double)(bar - bar % 8) / t->bars;
    int last = t->bars - bar <= 8;
    if (bar < 8) return KICK | HAT;
    if (last) return KICK | HAT | CLAP;
    if (x < 0.2) return KICK | HAT | CLAP | BASS;
    if (x < 0.45) return KICK | HAT | CLAP | BASS | PAD;
    if (x < 0.6) return PAD | LEAD | (bar % 8 == 7 ? CLAP : 0);
    return KICK | HAT | CLAP | BASS | PAD | LEAD;
}

static double note_hz(int semitones_from_c4)
{
    return 261.6255653005986 * pow(2.0, semitones_from_c4 / 12.0);
}

/* Adds n samples of a voice at `at`; left and right gains. Clipped to the buffer. */
struct sink {
    float *pcm;
    long samples;
};

static void put(struct sink *s, long at, double left, double right)
{
    if (at < 0 || at >= s->samples) return;
    s->pcm[2 * at] += (float)left;
    s->pcm[2 * at + 1] += (float)right;
}

static void kick(struct sink *s, long at)
{
    double phase = 0;
    for (long i = 0; i < RATE * 28 / 100; i++) {
        double x = (double)i / RATE, hz = 46 + 150 * exp(-x * 34);
        phase += TAU * hz / RATE;
        double v = 0.82 * sin(phase) * exp(-x * 11) + (i < 90 ? 0.25 * (1 - i / 90.0) : 0);
        put(s, at + i, v, v);
    }
}

static void clap(struct sink *s, long at, struct random *r)
{
    double low = 0;
    for (long i = 0; i < RATE * 16 / 100; i++) {
        double x = (double)i / RATE, noise = 2 * random_unit(r) - 1;
        low += 0.45 * (noise - low);
        double v = 0.3 * (noise - low) * exp(-x * 30);
        put(s, at + i, v, v * 0.92);
    }
}

static void hat(struct sink *s, long at, double level, double decay, struct random *r)
{
    double last = 0;
    for (long i = 0; i < RATE * 9 / 100; i++) {
        double noise = 2 * random_unit(r) - 1, v = level * (noise - last) * exp(-(double)i / RATE * decay);
        last = noise;
        put(s, at + i, v * 0.8, v);
    }
}

static void bass(struct sink *s, long at, long length, double hz, double cut)
{
    double phase = 0, a = 0, b = 0;
    for (long i = 0; i < length; i++) {
        double x = (double)i / RATE, edge = fmin(1, fmin(i / 120.0, (length - i) / 400.0));
        phase += hz / RATE;
        phase -= floor(phase);
        double saw = 2 * phase - 1, g = cut * (1 + 3 * exp(-x * 18));
        a += g * (saw - a);
        b += g * (a - b);
        put(s, at + i, 0.34 * edge * b, 0.34 * edge * b);
    }
}

static void chord(struct sink *s, long at, long length, const double *hz, int notes, double level)
{
    double phase[8] = {0}, lp[2] = {0};
    for (long i = 0; i < length; i++) {
        double edge = fmin(1, fmin(i / (0.04 * RATE), (length - i) / (0.06 * RATE))), side[2] = {0};
        for (int n = 0; n < notes; n++) {
            for (int c = 0; c < 2; c++) {
                double *p = &phase[2 * n + c];
                *p += hz[n] * (c ? 1.0028 : 0.9972) / RATE;
                *p -= floor(*p);
                side[c] += 2 * *p - 1;
            }
        }
        for (int c = 0; c < 2; c++)
            lp[c] += 0.12 * (side[c] - lp[c]);
        put(s, at + i, level * edge * lp[0], level * edge * lp[1]);
    }
}

static void pluck(struct sink *s, long at, double hz, double pan)
{
    double phase = 0;
    for (long i = 0; i < RATE * 35 / 100; i++) {
        double x = (double)i / RATE;
        phase += TAU * hz / RATE;
        double v =
            0.13 * (sin(phase) + 0.4 * sin(2 * phase) * exp(-x * 12)) * exp(-x * 9) * fmin(1, i / 60.0);
        put(s, at + i, v * (1 - pan), v * pan);
    }
}

static void render(const struct track *t, struct sink *s, struct random *r)
{
    static const int leads[8] = {0, 3, 7, 10, 7, 3, 12, 7};
    double beat = 60.0 / t->bpm * RATE, start = t->lead_in_s * RATE;
    for (int bar = 0; bar < t->bars; bar++) {
        int parts = bar_parts(t, bar), degree = (*t->chords)[bar % 4], root = t->tonic + degree;
        int third = t->minor ? (degree == 0 || degree == 5 || degree == 7 ? 3 : 4)
                             : (degree == 9 || degree == 4 || degree == 2 ? 3 : 4);
        double at = start + bar * 4 * beat;
        if (parts & PAD) {
            double hz[3] = {note_hz(root - 12), note_hz(root - 12 + third), note_hz(root - 12 + 7)};
            chord(s, lround(at), lround(4 * beat), hz, 3, t->pad_level);
        }
        for (int step = 0; step < 16; step++) { /* sixteenths */
            long p = lround(at + step * beat / 4);
            if ((parts & KICK) && step % 4 == 0) kick(s, p);
            if ((parts & CLAP) && step % 8 == 4) clap(s, p, r);
            if ((parts & HAT) &&
                (step % 4 == 2 || (t->hat_pattern == 1 && step % 2 == 0) || t->hat_pattern == 2))
                hat(s, p, step % 4 == 2 ? 0.11 : 0.05, step % 4 == 2 ? 45 : 90, r);
            if ((parts & BASS) &&
                (t->bass_pattern ? step % 4 == 2 : step % 8 == 3 || step % 8 == 6 || step == 0))
                bass(s, p, lround(beat * 0.42), note_hz(root - 36), t->bass_cut);
            if ((parts & LEAD) && (step * 5 + bar) % 3 != 1) {
                int note = leads[(step + bar) % 8];
                if (!t->minor && (note == 3 || note == 10)) note++;
                pluck(s, p, note_hz(t->tonic + note + 12), step % 2 ? 0.7 : 0.3);
            }
        }
    }
}

static void put_le(FILE *f, uint32_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        putc((int)(value >> (8 * i)) & 255, f);
}

static uint32_t info_size(const char *text)
{
    uint32_t n = (uint32_t)strlen(text) + 1;
    return 8 + n + (n & 1);
}

static void put_info(FILE *f, const char *id, const char *text)
{
    uint32_t n = (uint32_t)strlen(text) + 1;
    fwrite(id, 1, 4, f);
    put_le(f, n, 4);
    fwrite(text, 1, n, f);
    if (n & 1) putc(0, f);
}

static int write_wav(const char *path, const struct track *t, const struct sink *s)
{
    FILE *f = fopen(path, "wb");
    if (!f) return -1;
    uint32_t data = (uint32_t)s->samples * 4,
             info = 4 + info_size(t->title) + info_size(t->artist) + info_size("Crate");
    fwrite("RIFF", 1, 4, f);
    put_le(f, 4 + 24 + 8 + info + 8 + data, 4);
    fwrite("WAVEfmt ", 1, 8, f);
    put_le(f, 16, 4);
    put_le(f, 1, 2);
    put_le(f, 2, 2);
    put_le(f, RATE, 4);
    put_le(f, RATE * 4, 4);
    put_le(f, 4, 2);
    put_le(f, 16, 2);
    fwrite("LIST", 1, 4, f);
    put_le(f, info, 4);
    fwrite("INFO", 1, 4, f);
    put_info(f, "INAM", t->title);
    put_info(f, "IART", t->artist);
    put_info(f, "IPRD", "Crate");
    fwrite("data", 1, 4, f);
    put_le(f, data, 4);
    for (long i = 0; i < 2 * s->samples; i++)
        put_le(f, (uint16_t)(int16_t)lrintf(32767 * tanhf(0.8f * s->pcm[i])), 2);
    int bad = ferror(f);
    return fclose(f) || bad ? -1 : 0;
}

static int write_truth(const char *path, const struct track *t)
{
    FILE *f = fopen(path, "w");
    if (!f) return -1;
    for (int b = 0; b < t->bars * 4; b++)
        fprintf(f, "%.6f %d\n", t->lead_in_s + b * 60.0 / t->bpm, b % 4 + 1);
    int bad = ferror(f);
    return fclose(f) || bad ? -1 : 0;
}

static void compose(struct track *t, int number, double seconds, struct random *r)
{
    static const char *const first[] = {"Amber", "Night", "Silver",   "Slow",
                                        "Paper", "Glass", "Northern", "Velvet"};
    static const char *const second[] = {"Harbour", "Signal", "Meridian", "Orchard",
                                         "Tide",    "Engine", "Garden",   "Relay"};
    static const char *const artists[] = {"Ada Crate", "Bo Crate", "Cy Crate", "Di Crate", "Eli Crate"};
    /* neighbours within a few percent, a tempo with a fraction every third track */
    t->bpm = 120 + random_below(r, 9) + (number % 3 == 2 ? 0.37 : 0);
    t->tonic = random_below(r, 12);
    t->minor = random_below(r, 3) != 0;
    t->chords = t->minor ? &minor_progressions[random_below(r, 4)] : &major_progressions[random_below(r, 4)];
    t->hat_pattern = random_below(r, 3);
    t->bass_pattern = random_below(r, 2);
    t->bass_cut = 0.03 + 0.05 * random_unit(r);
    t->pad_level = 0.05 + 0.03 * random_unit(r);
    t->lead_in_s = 0.05 + 0.3 * random_unit(r);
    t->bars = (int)(seconds / (240 / t->bpm));
    t->bars -= t->bars % 8;
    if (t->bars < 16) t->bars = 16;
    snprintf(t->title, sizeof t->title, "%s %s %d", first[random_below(r, 8)], second[random_below(r, 8)],
             number + 1);
    snprintf(t->artist, sizeof t->artist, "%s", artists[number % 5]);
}

static long number_option(const char *name, const char *text, long min, long max)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || *end || end == text || value < min || value > max) {
        fprintf(stderr, "forever-crate: --%s \"%s\": must be a whole number from %ld to %ld\n", name, text,
                min, max);
        exit(EX_USAGE);
    }
    return value;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"out", 1, NULL, 'o'},     {"tracks", 1, NULL, 't'},
                                            {"seconds", 1, NULL, 's'}, {"seed", 1, NULL, 'r'},
                                            {"help", 0, NULL, 'h'},    {NULL, 0, NULL, 0}};
    const char *out = NULL;
    long tracks = 8, seconds = 96, seed = 1;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'o':
            out = optarg;
            break;
        case 't':
            tracks = number_option("tracks", optarg, 1, 1000);
            break;
        case 's':
            seconds = number_option("seconds", optarg, 20, 600);
            break;
        case 'r':
            seed = number_option("seed", optarg, 0, 1000000000);
            break;
        case 'h':
            puts("usage: forever-crate --out DIR [--tracks 1..1000] [--seconds 20..600] [--seed N]\n"
                 "Synthesises dance tracks (WAV, tagged) with their beats beside them (.beats).");
            return 0;
        default:
            return EX_USAGE;
        }
    }
    if (!out || optind < argc) {
        fputs("forever-crate: --out DIR is needed, and nothing besides options (--help)\n", stderr);
        return EX_USAGE;
    }
    if (mkdir(out, 0755) && errno != EEXIST) {
        fprintf(stderr, "forever-crate: %s: %s\n", out, strerror(errno));
        return EX_CANTCREAT;
    }
    for (int i = 0; i < tracks; i++) {
        /* each track from a seed of its own: the first ones don't change when more are asked for */
        struct random r = {(uint64_t)seed * 1000003u + (uint64_t)i};
        struct track t;
        compose(&t, i, (double)seconds, &r);
        struct sink s = {.samples = lround((t.lead_in_s + t.bars * 240 / t.bpm + 0.4) * RATE)};
        s.pcm = calloc((size_t)s.samples * 2, sizeof *s.pcm);
        if (!s.pcm) return EX_OSERR;
        render(&t, &s, &r);
        char path[4096];
        snprintf(path, sizeof path, "%s/%02d %s.wav", out, i + 1, t.title);
        int bad = write_wav(path, &t, &s);
        snprintf(path, sizeof path, "%s/%02d %s.beats", out, i + 1, t.title);
        bad |= write_truth(path, &t);
        free(s.pcm);
        if (bad) {
            fprintf(stderr, "forever-crate: %s: could not be written: %s\n", path, strerror(errno));
            return EX_IOERR;
        }
    }
    return 0;
}
