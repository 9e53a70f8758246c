/* Families of listeners by their User-Agent, for statistics only. */
#include <string.h>

#include "common/fanout.h"

const char *const fanout_agent_names[AGENT_COUNT] = {"browser", "app", "player", "radio", "tool", "other"};

/* The first row that is found in the text decides: what many others claim to be as well comes last. */
static const struct {
    const char *part;
    enum fanout_agent family;
} table[] = {
    {"sonos", AGENT_RADIO},       {"esp8266", AGENT_RADIO},
    {"esp32", AGENT_RADIO},       {"esp-radio", AGENT_RADIO},
    {"karadio", AGENT_RADIO},     {"yoradio", AGENT_RADIO},
    {"squeeze", AGENT_RADIO},     {"logitech", AGENT_RADIO},
    {"roku", AGENT_RADIO},        {"crkey", AGENT_RADIO},
    {"alexa", AGENT_RADIO},       {"bose", AGENT_RADIO},
    {"denon", AGENT_RADIO},       {"yamaha", AGENT_RADIO},
    {"frontier", AGENT_RADIO},    {"reciva", AGENT_RADIO},
    {"wiim", AGENT_RADIO},        {"linn", AGENT_RADIO},
    {"hama", AGENT_RADIO},        {"internetradio", AGENT_RADIO},
    {"curl/", AGENT_TOOL},        {"wget", AGENT_TOOL},
    {"python", AGENT_TOOL},       {"go-http-client", AGENT_TOOL},
    {"icecast", AGENT_TOOL},      {"streamripper", AGENT_TOOL},
    {"forever/", AGENT_TOOL},     {"bot", AGENT_TOOL},
    {"monitor", AGENT_TOOL},      {"applecoremedia", AGENT_APP},
    {"stagefright", AGENT_APP},   {"exoplayer", AGENT_APP},
    {"dalvik", AGENT_APP},        {"okhttp", AGENT_APP},
    {"cfnetwork", AGENT_APP},     {"tunein", AGENT_APP},
    {"radiodroid", AGENT_APP},    {"radio.net", AGENT_APP},
    {"vlc", AGENT_PLAYER},        {"mpv", AGENT_PLAYER},
    {"mpg123", AGENT_PLAYER},     {"lavf", AGENT_PLAYER},
    {"mplayer", AGENT_PLAYER},    {"gstreamer", AGENT_PLAYER},
    {"winamp", AGENT_PLAYER},     {"foobar", AGENT_PLAYER},
    {"itunes", AGENT_PLAYER},     {"audacious", AGENT_PLAYER},
    {"clementine", AGENT_PLAYER}, {"strawberry", AGENT_PLAYER},
    {"rhythmbox", AGENT_PLAYER},  {"music player daemon", AGENT_PLAYER},
    {"xine", AGENT_PLAYER},       {"xmms", AGENT_PLAYER},
    {"aimp", AGENT_PLAYER},       {"kodi", AGENT_PLAYER},
    {"bass/", AGENT_PLAYER},      {"nsplayer", AGENT_PLAYER},
    {"quicktime", AGENT_PLAYER},  {"liquidsoap", AGENT_TOOL},
    {"mozilla/", AGENT_BROWSER},  {"opera/", AGENT_BROWSER},
};

enum fanout_agent fanout_agent_classify(const char *user_agent)
{
    if (!user_agent) return AGENT_OTHER;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strcasestr(user_agent, table[i].part)) return table[i].family;
    }
    return AGENT_OTHER;
}
