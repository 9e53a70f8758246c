# forever: one Makefile, not recursive.
#   make            both programs and the workers, in build/
#   make run        build, fetch the demo music, start a root and a relay
#   make check      every test                (tests/run installs what is missing first)
#   make check-all  check, then sanitizers, second compiler, lint, bare tree
# BUILD=dir and SAN=address,undefined build elsewhere or with sanitizers.

CC      ?= gcc
BUILD   ?= build
PYTHON  ?= /usr/bin/python3
OPT     ?= -O2
VERSION := 0.1.0
LLHTTP  ?= /usr/share/llhttp
PKGCONF ?= pkg-config

WARN    := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2
CPPFLAGS += -D_GNU_SOURCE -DFOREVER_VERSION='"$(VERSION)"' -I. -I/usr/share/include/llhttp
CFLAGS  += -std=gnu11 -g $(OPT) $(WARN) -fstack-protector-strong -fno-math-errno -ffp-contract=off
# V=1 shows the commands
Q := $(if $(V),,@)
say = $(if $(V),,@echo "  $(1)	$@")

ifneq ($(SAN),)
CFLAGS  += -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all
LDFLAGS += -fsanitize=$(SAN)
endif

COMMON_PKGS := libevent_core libevent_extra jansson inih libcurl
WORK_PKGS   := libavcodec libavformat libavutil libswresample rubberband libebur128 libchromaprint sqlite3
# one pkg-config run each, at the first use
COMMON_CFLAGS := $(shell $(PKGCONF) --cflags $(COMMON_PKGS) 2>/dev/null)
WORK_CFLAGS   := $(shell $(PKGCONF) --cflags $(WORK_PKGS) 2>/dev/null)
AIR_LIBS   := -lmaxminddb -levent_core -levent_extra -levent_openssl -lssl -lcrypto -ljansson -linih -lcurl -lm
RELAY_LIBS := -levent_core -levent_extra -levent_openssl -lssl -lcrypto -ljansson -linih -lcurl -lm
LOAD_LIBS  := -ljansson -lssl -lcrypto -lm
WORK_LIBS  := -levent_core -levent_extra -ljansson -linih -lavformat -lavcodec -lswresample -lavutil \
              -lmp3lame -lrubberband -lebur128 -lchromaprint -lsqlite3 -lcrypto -lm
CPPFLAGS += $(COMMON_CFLAGS) $(WORK_CFLAGS)

COMMON_SRC := $(wildcard common/*.c)
AIR_SRC    := root/wire.c root/sample.c $(wildcard root/track*.c) $(wildcard root/air/*.c)
WORK_SRC   := root/wire.c root/sample.c $(wildcard root/track*.c) $(foreach d,library audio analysis order mix source,$(wildcard root/$(d)/*.c)) \
              $(filter-out root/work/main.c,$(wildcard root/work/*.c))
RELAY_SRC  := $(filter-out relay/main.c,$(wildcard relay/*.c))
LOAD_SRC   := $(filter-out tests/load/main.c,$(wildcard tests/load/*.c))
LLHTTP_SRC := $(LLHTTP)/llhttp.c $(LLHTTP)/api.c $(LLHTTP)/http.c

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
LLHTTP_OBJ := $(patsubst $(LLHTTP)/%.c,$(BUILD)/obj/llhttp/%.o,$(LLHTTP_SRC))
ALL_SRC := $(COMMON_SRC) $(sort $(AIR_SRC) $(WORK_SRC)) $(RELAY_SRC) $(LOAD_SRC) root/main.c root/work/main.c relay/main.c tests/load/main.c

.PHONY: all run check check-unit check-system check-web check-layers check-asan check-clang check-all lint bench bench-mix sim clean
all: $(BUILD)/forever-root $(BUILD)/forever-work $(BUILD)/forever-relay $(BUILD)/forever-load

# the site is part of the program
$(BUILD)/obj/root/air/pages.o: $(wildcard root/web/*)

$(BUILD)/libcommon.a: $(call obj,$(COMMON_SRC)) $(LLHTTP_OBJ)
$(BUILD)/libair.a: $(call obj,$(AIR_SRC))
$(BUILD)/libwork.a: $(call obj,$(WORK_SRC))
$(BUILD)/librelay.a: $(call obj,$(RELAY_SRC))
$(BUILD)/libload.a: $(call obj,$(LOAD_SRC))
$(BUILD)/%.a:
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,AR)
	$(Q)ar rcs $@ $^

$(BUILD)/forever-root: $(call obj,root/main.c) $(BUILD)/libair.a $(BUILD)/libcommon.a
	$(call say,LINK)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(AIR_LIBS)
$(BUILD)/forever-work: $(call obj,root/work/main.c) $(BUILD)/libwork.a $(BUILD)/libcommon.a
	$(call say,LINK)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(WORK_LIBS)
$(BUILD)/forever-relay: $(call obj,relay/main.c) $(BUILD)/librelay.a $(BUILD)/libcommon.a
	$(call say,LINK)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(RELAY_LIBS)
# The load generator (docs/LOAD.md).
$(BUILD)/forever-load: $(call obj,tests/load/main.c) $(BUILD)/libload.a $(BUILD)/libcommon.a
	$(call say,LINK)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LOAD_LIBS)

$(BUILD)/obj/llhttp/%.o: $(LLHTTP)/%.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(filter-out -W%,$(CPPFLAGS) $(CFLAGS)) -DLLHTTP_STRICT_MODE=1 -w -c -o $@ $<
$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<
-include $(patsubst %.o,%.d,$(call obj,$(ALL_SRC) tests/bench/fanout.c tests/bench/router.c tests/bench/reports.c tests/bench/series.c tests/bench/mix/stage.c $(wildcard tests/sim/*.c tests/fuzz/*.c)) $(wildcard $(BUILD)/obj/tests/unit/*.o))

# Unit tests: every tests/unit/test_*.c is one cmocka program linked against everything it may need.
UNIT_SRC := $(wildcard tests/unit/test_*.c)
UNIT_BIN := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(UNIT_SRC))
$(BUILD)/tests/%: $(BUILD)/obj/tests/unit/%.o $(BUILD)/libair.a $(BUILD)/libwork.a $(BUILD)/librelay.a $(BUILD)/libload.a $(BUILD)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group -lcmocka -lcurl -lmaxminddb -levent_openssl -lssl $(WORK_LIBS)
.SECONDARY:

run: all
	./deploy/run

clean:
	rm -rf $(BUILD)

# The synthesised crate: demo music where none can be fetched, and tracks with exact truth for tests.
$(BUILD)/forever-crate: deploy/crate.c
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< -lm

# What a listener costs, and what the station costs when nobody listens (tests/bench/fanout --help, idle --help).
$(BUILD)/bench-fanout: $(call obj,tests/bench/fanout.c) $(BUILD)/libcommon.a
	$(CC) $(LDFLAGS) -o $@ $^ $(AIR_LIBS)
# What statistics over time cost the store.
$(BUILD)/bench-series: $(call obj,tests/bench/series.c) $(BUILD)/libwork.a $(BUILD)/libcommon.a
	$(call say,LINK)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(WORK_LIBS)
# What the mix is worth (tests/bench/mix/run --help).
$(BUILD)/bench-mix: $(call obj,tests/bench/mix/stage.c) $(BUILD)/libwork.a $(BUILD)/libcommon.a
	$(call say,LINK)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(WORK_LIBS)
# The relay network in virtual time (docs/ROUTING.md): `make sim` in full, minutes long; the tests run it small.
SIM_SRC := $(wildcard tests/sim/*.c)
# what a relay's pull and its drain stand on is the simulation's (tests/sim/tree_internal.h, months_drain.c)
comma := ,
SIM_OWN := event_new event_add event_del event_free event_pending proc_jitter_ms fetch_start fetch_cancel follow_record \
           getrandom station_wake $(addprefix ring_,head branch) $(addprefix bundle_,at count) \
           $(addprefix fanout_,kind_count part cut) \
           $(addprefix node_,wanted_by fanout draining set_draining set_moving room_elsewhere) \
           $(addprefix node_,ring pacer station loop set_kbps set_identity set_linked music behind_s waiting_burst_s followed needed_by) \
           $(addprefix uplink_,start free parent url accepted link follow head still_fits fresh_ns)
$(BUILD)/forever-sim: $(call obj,$(SIM_SRC)) $(BUILD)/libair.a $(BUILD)/librelay.a $(BUILD)/libcommon.a
	$(call say,LINK)
	$(Q)$(CC) $(LDFLAGS) $(addprefix -Wl$(comma)--wrap=,$(SIM_OWN)) -o $@ $(call obj,$(SIM_SRC)) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(RELAY_LIBS)
sim: $(BUILD)/forever-sim
	BUILD=$(BUILD) ./tests/sim/run
bench-mix: all $(BUILD)/bench-mix $(BUILD)/forever-crate
$(BUILD)/bench-router: $(call obj,tests/bench/router.c) $(BUILD)/libair.a $(BUILD)/libcommon.a
	$(call say,LINK)
	$(Q)$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(RELAY_LIBS) -lpthread
$(BUILD)/bench-reports: $(call obj,tests/bench/reports.c) $(BUILD)/libcommon.a
	$(call say,LINK)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(AIR_LIBS)
bench: all $(BUILD)/bench-fanout $(BUILD)/bench-router $(BUILD)/bench-reports $(BUILD)/forever-crate
	BUILD=$(BUILD) ./tests/bench/fanout
	BUILD=$(BUILD) ./tests/bench/idle
	BUILD=$(BUILD) ./tests/bench/router
	BUILD=$(BUILD) ./tests/bench/crowd

# Fuzzing: build/fuzz/X runs files through tests/fuzz/X.c (see replay.c); libFuzzer drives it instead after
#   make fuzz CC=clang FUZZER=-fsanitize=fuzzer SAN=address,undefined,fuzzer-no-link BUILD=build-fuzz
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_BIN := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(FUZZ_SRC))
FUZZER   ?= $(BUILD)/obj/tests/fuzz/replay.o
$(BUILD)/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(BUILD)/obj/tests/fuzz/replay.o $(BUILD)/librelay.a $(BUILD)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(LDFLAGS) -o $@ $< $(FUZZER) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(RELAY_LIBS)
.PHONY: fuzz
fuzz: $(FUZZ_BIN)

# Tests. tests/suite counts; its last line is "N passed, N failed".
.PHONY: tests-build check-bare
tests-build: all $(BUILD)/forever-sim $(BUILD)/forever-crate $(UNIT_BIN)
check: tests-build
	BUILD=$(BUILD) ./tests/suite
check-unit: $(UNIT_BIN)
	BUILD=$(BUILD) ./tests/suite unit
check-system: tests-build
	BUILD=$(BUILD) ./tests/suite system
check-web: tests-build
	BUILD=$(BUILD) ./tests/suite web
check-layers:
	BUILD=$(BUILD) ./tests/suite layers

# The longer checks, all of which come before a release.
SANITIZERS := address,undefined
check-asan:
	$(MAKE) SAN=$(SANITIZERS) BUILD=build-asan OPT=-O1 tests-build
	ASAN_OPTIONS=detect_leaks=1:abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1 FOREVER_TEST_SLOW=3 \
	BUILD=build-asan ./tests/suite unit programs
check-clang:
	$(MAKE) CC=clang BUILD=build-clang tests-build
	BUILD=build-clang ./tests/suite unit
FORMATTED := $(wildcard common/*.[ch] relay/*.[ch] tests/*.h tests/load/*.[ch] tests/sim/*.[ch] deploy/*.c tests/unit/*.[ch] tests/bench/*.c tests/bench/mix/*.c tests/fuzz/*.c \
             root/*.[ch] root/*/*.[ch])
lint:
	clang-format --dry-run -Werror $(FORMATTED)
	printf '%s\n' $(filter %.c,$(filter-out tests/%,$(FORMATTED))) | \
	xargs -P $$(nproc) -I FILE clang-tidy --quiet FILE -- -std=gnu11 $(CPPFLAGS)
check-bare:
	./tests/bare
check-all:
	./deploy/install build demo test check
	$(MAKE) lint
	FOREVER_LONG=1 $(MAKE) check
	tests/bench/ears/memory.py --program $(BUILD)/forever-root
	BUILD=$(BUILD) ./tests/bench/survive
	BUILD=$(BUILD) ./tests/bench/crowd
	$(MAKE) sim
	$(MAKE) check-clang
	$(MAKE) check-asan
	$(MAKE) check-bare
