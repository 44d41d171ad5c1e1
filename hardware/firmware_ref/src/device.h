/* The whole state of one outlet controller, and what its parts offer each other. No heap, no floating point; the only
 * state outside `struct hwo1` is the FRAM behind `struct hal`. */
#ifndef HWO1_DEVICE_H
#define HWO1_DEVICE_H

#include "cmac.h"
#include "hal.h"
#include "hwo1_regs.h"

enum {
    TICK_MS = 10,
    BOOT_MS = 200,
    UNLOCK_MS = 30000,
    TRAVEL_MS = 300,
    QUIET_MS = 100,
    FLOW_WINDOW_MS = 1000,
    BURST_HOLD_MS = 2000,
    SLOT_ML = 1000,
    SLOT_MS = 10000,
    SCALD_RELEASE_DECIDEGC = 430,
    CLOCK_STEP_S = 2,
    CLOCK_SYNCED_MS = 86400000,
    TOKENS_KEPT = 4,
    LEASE_S_MAX = 600,
    IDLE_S_MAX = 600,
    TEMP_MIN_DECIDEGC = 200,
    TEMP_MAX_DECIDEGC = 600,
    RECORD_BYTES = 2 * HWO1_EVENT_WORDS,
    LOG_CAPACITY = 128,
    LOG_RESERVED = 8,
    LOG_PENDING_MAX = 32,
    MAILBOX_CAPACITY = 4,
    MAILBOX_STALE_MS = 10000,
    UID_BYTES_MAX = 10,
    PAYLOAD_BYTES_MAX = 208,
    FLOW_PLACES = 128,
    SELF_TEST_MS = 1000,
    IDENTIFY_MS = 10000,
    FREEZE_DECIDEGC = 10,
    SUPPLY_LOW_MV = 20400,
    SUPPLY_GOOD_MV = 21600,
    BACKUP_LOW_MV = 2800,
    BACKUP_GOOD_MV = 3000,
    CAL_K_MIN = 1000,
    DRIFT_AFTER_MS = 3600000,
    WATER_J_PER_L_K = 4186,
    ENERGY_PER_WH = 36000000,
    TEXT_BYTES = 32,
    ADU_BYTES_MAX = 256
};

/* Modbus exception codes; 0 means done. */
enum { OK = 0, ILLEGAL_FUNCTION = 1, ILLEGAL_ADDRESS = 2, ILLEGAL_VALUE = 3, DEVICE_BUSY = 6 };

enum table { COIL, DISCRETE, HOLDING, INPUT };

/* Places of the configuration, in the order of its block. */
#define CONFIG_PLACE(name, table, address, words, type, access, low, high, fallback, persist) CONFIG_##name,
enum config_place { HWO1_POINTS_CFG(CONFIG_PLACE) CONFIG_COUNT };

struct identity {
    char model[17];
    char serial[17];
    uint64_t device_uid;
    uint32_t k_factor;
    uint8_t unit;
    /* a sensor before the mixer is fitted */
    bool temp_in;
    /* command frames need a seal made with the key */
    bool has_key;
    uint8_t key[CMAC_KEY_BYTES];
};

struct result {
    uint16_t token, code, detail;
    uint32_t session_id, pulses;
    uint16_t snap;
};

struct limits {
    uint32_t volume_ml, time_ms, lease_ms, idle_ms;
    int32_t temp;
};

struct dispense {
    bool open;
    uint32_t session_id, token_tag;
    uint64_t opening_pulses, opened_at_ms, driven_at_ms, leased_at_ms, flowed_at_ms, closing_at_ms;
    struct limits limits;
    uint16_t reason;
};

/* Pulses of the last second: places `first` to `first + count`, oldest first. */
struct flow_window {
    uint64_t at_ms[FLOW_PLACES];
    uint32_t pulses[FLOW_PLACES];
    uint16_t first, count;
};

struct item {
    uint16_t seq, source, flags;
    uint8_t uid_len, len;
    uint64_t at_ms;
    uint32_t unix_time;
    uint8_t uid[UID_BYTES_MAX], payload[PAYLOAD_BYTES_MAX];
};

struct mailbox {
    uint16_t seq;
    uint8_t count;
    bool dropped;
    struct item items[MAILBOX_CAPACITY];
};

struct event_log {
    uint32_t head, acked, saved_head;
    /* records appended since the last commit */
    uint8_t pending[LOG_PENDING_MAX][RECORD_BYTES];
};

struct rtu {
    uint8_t in[ADU_BYTES_MAX], out[ADU_BYTES_MAX];
    uint16_t in_len, out_len;
    bool spoiled;
    uint64_t last_byte_us, send_at_us;
    uint32_t t15_us, t35_us;
};

/* A time that may not have come yet. */
struct since {
    bool is_set;
    uint64_t at_ms;
};

/* Unix time = now + offset. */
struct hwo1_clock {
    bool is_set;
    int64_t offset_ms;
    struct since synced;
    int16_t drift_ppm;
};

struct hwo1 {
    const struct hal *hal;
    struct identity identity;
    uint64_t now_ms, booted_at_ms, frame_at_ms, unlocked_until_ms;
    struct hwo1_clock clock;
    /* bus */
    struct rtu rtu;
    uint32_t frames;
    uint16_t crc_errors, snap, link_age_s;
    uint16_t command[HWO1_BLOCK_CMD_WORDS];
    bool rebooted, mute, identify;
    struct since identified;
    uint32_t log_cursor, clock_set;
    uint16_t disp_ttl, buzzer, led;
    uint8_t disp_text[TEXT_BYTES];
    /* kept through a power cut; see store.c */
    bool dirty;
    uint32_t generation;
    uint16_t boot_id, config_seq;
    uint32_t config[CONFIG_COUNT];
    uint32_t faults;
    struct event_log log;
    struct result results[TOKENS_KEPT];
    uint8_t result_count;
    uint64_t total_pulses, open_time_ms, energy, unbilled_pulses;
    uint32_t reverse_pulses, valve_cycles, last_session_id;
    struct dispense dispense;
    /* the rest starts anew */
    struct result last_result;
    struct mailbox mailbox;
    struct hal_sample sample;
    /* inputs as the last tick felt them */
    bool key_felt, lid_felt, unplugged_felt;
    uint16_t state, close_reason;
    uint64_t last_pulses, last_elapsed_ms, flowed_at_ms;
    uint64_t saved_pulses, saved_at_ms;
    struct flow_window recent;
    struct since leak_window;
    uint64_t leak_pulses;
    struct since hot, burst, self_test;
    bool reboot_wanted;
};

/* device.c: life of the whole. `unix_ms` is what a battery-backed clock says, 0 without one; `sample` what the converter
 * reads before the first tick. */
void device_start(struct hwo1 *d, const struct hal *hal, const struct identity *identity,
                  const struct hal_sample *sample, uint64_t now_ms, uint64_t unix_ms);
void device_tick(struct hwo1 *d, uint64_t now_ms, const struct hal_sample *sample);
void device_falling_supply(struct hwo1 *d, uint64_t now_ms);
void device_press_stop(struct hwo1 *d, uint64_t now_ms);
void device_frame_seen(struct hwo1 *d);
void device_move_to(struct hwo1 *d, uint64_t now_ms);
uint64_t device_unix_ms(const struct hwo1 *d);
uint16_t device_clock_quality(const struct hwo1 *d);
void device_set_clock(struct hwo1 *d, uint64_t unix_ms);
void device_set_fault(struct hwo1 *d, uint32_t mask, bool on);
void device_next_snap(struct hwo1 *d);
bool device_has_fault(const struct hwo1 *d, uint32_t mask);
void device_check_calibration(struct hwo1 *d);
uint8_t bit_number(uint32_t mask);

/* outlet.c: counting, limits, closing. */
void outlet_restore(struct hwo1 *d);
void outlet_note_flow(struct hwo1 *d);
void outlet_service(struct hwo1 *d);
void outlet_watch(struct hwo1 *d, uint64_t elapsed_ms);
void outlet_watch_closed(struct hwo1 *d);
void outlet_log_unbilled(struct hwo1 *d);
uint16_t outlet_resting_state(const struct hwo1 *d);
void outlet_keep_register(struct hwo1 *d);
void outlet_close(struct hwo1 *d, uint16_t reason);
void outlet_check_log_room(struct hwo1 *d);
bool outlet_valve_drive(const struct hwo1 *d);
uint64_t outlet_volume_ml(const struct hwo1 *d, uint64_t pulses);
uint64_t outlet_session_pulses(const struct hwo1 *d);
uint64_t outlet_session_elapsed_ms(const struct hwo1 *d);
uint16_t outlet_flow_centilpm(const struct hwo1 *d);
uint32_t outlet_lease_left_ms(const struct hwo1 *d);
uint16_t outlet_valve_position(const struct hwo1 *d);
uint32_t outlet_session_id(const struct hwo1 *d);
uint32_t outlet_blocking_fault(const struct hwo1 *d);

/* commands.c: one whole command frame of the right length; returns an exception code. */
uint8_t command_run(struct hwo1 *d, const uint16_t *words);

/* registers.c: bus accesses by table and address; return an exception code. */
uint8_t registers_read(const struct hwo1 *d, enum table table, uint16_t address, uint16_t count, uint16_t *words);
uint8_t registers_exist(enum table table, uint16_t address, uint16_t count);
uint8_t registers_write(struct hwo1 *d, enum table table, uint16_t address, const uint16_t *words, uint16_t count,
                        bool single);
void registers_broadcast(struct hwo1 *d, uint16_t address, const uint16_t *words, uint16_t count);

/* event_log.c */
bool log_has_room(const struct hwo1 *d, uint16_t type);
struct entry {
    uint16_t type, aux;
    uint32_t session_id, token_tag, pulses;
};
bool log_append(struct hwo1 *d, const struct entry *entry);
uint32_t log_waiting(const struct hwo1 *d);
void log_acknowledge(struct hwo1 *d, uint32_t sequence);
uint16_t log_window(const struct hwo1 *d, uint8_t *records);

/* mailbox.c */
void mailbox_start(struct mailbox *m, uint16_t boot_id);
uint16_t mailbox_post(struct hwo1 *d, uint16_t source, const uint8_t *uid, uint16_t uid_len, const uint8_t *payload,
                      uint16_t len);
void mailbox_acknowledge(struct mailbox *m, uint16_t sequence);

/* store.c */
enum stored { STORED, STORE_NEW, STORE_DAMAGED };
enum stored store_load(struct hwo1 *d);
void store_commit(struct hwo1 *d);
uint16_t store_record_at(uint32_t sequence);

/* pdu.c */
uint16_t pdu_answer(struct hwo1 *d, const uint8_t *pdu, uint16_t size, uint8_t *out);
void pdu_broadcast(struct hwo1 *d, const uint8_t *pdu, uint16_t size);

/* rtu.c: bytes in with the time they came, and a look at the time whenever it has moved. */
void rtu_start(struct hwo1 *d);
void rtu_byte(struct hwo1 *d, uint8_t byte, uint64_t now_us);
void rtu_look(struct hwo1 *d, uint64_t now_us);

#endif
