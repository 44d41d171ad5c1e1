/* Commands: one frame of 19 registers, executed once per token. */
#include <string.h>

#include "bytes.h"
#include "device.h"

/* A field of the frame by its address in the map. */
#define AT(name) ((int)(HWO1_REG_CMD_##name - HWO1_BLOCK_CMD))
#define WORD(words, name) ((words)[AT(name)])
#define LONG(words, name) ((uint32_t)(words)[AT(name)] << 16 | (words)[AT(name) + 1])

enum { OPCODES = 10, SEAL_BYTES = 8, SEALED_BYTES = 2 * AT(MAC) + 8 };

#define BIT(opcode) (1u << HWO1_OPCODE_##opcode)
#define WHILE_RUNNING (BIT(CLOSE) | BIT(EXTEND) | BIT(SET_CLOCK) | BIT(IDENTIFY) | BIT(REBOOT))

/* By state: the opcodes that may act in it. */
static const uint16_t ALLOWED[] = {
    BIT(SET_CLOCK) | BIT(IDENTIFY),
    BIT(OPEN) | BIT(CLOSE) | BIT(CLEAR_FAULT) | BIT(SELF_TEST) | BIT(SET_CLOCK) | BIT(IDENTIFY) | BIT(REBOOT),
    WHILE_RUNNING | BIT(PAUSE),
    WHILE_RUNNING | BIT(PAUSE),
    WHILE_RUNNING | BIT(OPEN),
    BIT(CLOSE) | BIT(SET_CLOCK) | BIT(IDENTIFY),
    BIT(CLOSE) | BIT(CLEAR_FAULT) | BIT(SET_CLOCK) | BIT(IDENTIFY) | BIT(REBOOT),
    BIT(CLEAR_FAULT) | BIT(SELF_TEST) | BIT(SET_CLOCK) | BIT(IDENTIFY) | BIT(REBOOT),
};

/* What CLEAR_FAULT clears, in this order. */
static const uint32_t CLEARABLE[] = {
    HWO1_FAULTS_STUCK_OPEN,    HWO1_FAULTS_STUCK_CLOSED, HWO1_FAULTS_LEAK_CLOSED, HWO1_FAULTS_NO_FLOW,
    HWO1_FAULTS_REVERSE_FLOW,  HWO1_FAULTS_TAMPER,       HWO1_FAULTS_NVM_CRC,     HWO1_FAULTS_LEASE_EXPIRED,
    HWO1_FAULTS_BURST_FLOW,    HWO1_FAULTS_FREEZE,       HWO1_FAULTS_CAL_INVALID,
};

struct outcome {
    uint16_t code, detail;
};

static struct outcome outcome(uint16_t code, uint16_t detail)
{
    struct outcome o = {code, detail};

    return o;
}

static void log_checkpoint(struct hwo1 *d, uint16_t aux)
{
    struct entry entry = {0};

    entry.type = HWO1_RECORD_TYPE_CHECKPOINT;
    entry.session_id = d->dispense.session_id;
    entry.token_tag = d->dispense.token_tag;
    entry.pulses = (uint32_t)outlet_session_pulses(d);
    entry.aux = aux;
    log_append(d, &entry);
}

/* Number of the limit of an OPEN that is out of bounds, or 0. */
static uint16_t bad_limit(const struct hwo1 *d, const uint16_t *w)
{
    uint32_t volume = LONG(w, LIMIT_VOLUME);
    uint16_t time_s = WORD(w, LIMIT_TIME), lease_s = WORD(w, LEASE);
    int16_t temp = (int16_t)WORD(w, TEMP_MAX);

    if (volume == 0 || volume > d->config[CONFIG_CFG_MAX_VOLUME])
        return 1;
    if (time_s == 0 || time_s > d->config[CONFIG_CFG_MAX_SESSION])
        return 2;
    if (lease_s == 0 || lease_s > LEASE_S_MAX)
        return 3;
    if (WORD(w, IDLE) > IDLE_S_MAX)
        return 4;
    return temp != 0 && (temp < TEMP_MIN_DECIDEGC || temp > TEMP_MAX_DECIDEGC) ? 5 : 0;
}

static void set_limits(struct hwo1 *d, const uint16_t *w)
{
    struct limits *limits = &d->dispense.limits;
    uint16_t idle_s = WORD(w, IDLE);
    int32_t temp = (int16_t)WORD(w, TEMP_MAX), cutoff = (int32_t)d->config[CONFIG_CFG_TEMP_CUTOFF];

    limits->volume_ml = LONG(w, LIMIT_VOLUME);
    limits->time_ms = WORD(w, LIMIT_TIME) * UINT32_C(1000);
    limits->lease_ms = WORD(w, LEASE) * UINT32_C(1000);
    limits->idle_ms = (idle_s != 0 ? idle_s : d->config[CONFIG_CFG_NOFLOW]) * 1000;
    limits->temp = temp != 0 && temp < cutoff ? temp : cutoff;
    d->dispense.leased_at_ms = d->dispense.flowed_at_ms = d->dispense.driven_at_ms = d->now_ms;
}

static void begin(struct hwo1 *d, uint32_t session_id, const uint16_t *w)
{
    struct entry start = {0};

    outlet_log_unbilled(d);
    device_set_fault(d, HWO1_FAULTS_LEASE_EXPIRED, false);
    memset(&d->dispense, 0, sizeof d->dispense);
    d->dispense.open = true;
    d->dispense.session_id = start.session_id = session_id;
    d->dispense.token_tag = start.token_tag = LONG(w, TOKEN_TAG);
    d->dispense.opening_pulses = d->total_pulses;
    d->dispense.opened_at_ms = d->now_ms;
    d->close_reason = HWO1_CLOSE_REASON_NONE;
    start.type = HWO1_RECORD_TYPE_START;
    log_append(d, &start);
}

static struct outcome open_valve(struct hwo1 *d, const uint16_t *w)
{
    uint32_t session_id = LONG(w, SESSION), blocking = outlet_blocking_fault(d);
    uint16_t wrong = bad_limit(d, w);

    if (session_id == 0 || session_id == d->last_session_id)
        return outcome(HWO1_RESULT_BAD_STATE, 0);
    if (d->dispense.open && d->dispense.session_id != session_id)
        return outcome(HWO1_RESULT_BUSY, 0);
    if (blocking != 0)
        return outcome(HWO1_RESULT_FAULTED, bit_number(blocking));
    if (wrong != 0)
        return outcome(HWO1_RESULT_BAD_LIMIT, wrong);
    if (d->dispense.open)
        log_checkpoint(d, HWO1_STATE_ARMED);
    else if (!log_has_room(d, HWO1_RECORD_TYPE_START))
        return outcome(HWO1_RESULT_LOG_FULL, (uint16_t)log_waiting(d));
    else
        begin(d, session_id, w);
    set_limits(d, w);
    d->valve_cycles++;
    d->state = HWO1_STATE_ARMED;
    d->dirty = true;
    return outcome(HWO1_RESULT_DONE, 0);
}

static bool is_commanded(uint16_t reason)
{
    return reason == HWO1_CLOSE_REASON_REMOTE || reason == HWO1_CLOSE_REASON_USER ||
           reason == HWO1_CLOSE_REASON_HANDOVER || reason == HWO1_CLOSE_REASON_CARD ||
           reason == HWO1_CLOSE_REASON_REVOKED;
}

static struct outcome close_valve(struct hwo1 *d, const uint16_t *w)
{
    uint32_t session_id = LONG(w, SESSION);
    uint16_t reason = WORD(w, LIMIT_TIME) != 0 ? WORD(w, LIMIT_TIME) : HWO1_CLOSE_REASON_REMOTE;

    if (session_id != 0 && session_id != outlet_session_id(d))
        return outcome(HWO1_RESULT_BAD_STATE, 0);
    if (!d->dispense.open)
        return outcome(HWO1_RESULT_DONE, 0);
    if (!is_commanded(reason))
        return outcome(HWO1_RESULT_BAD_LIMIT, 2);
    if (d->state != HWO1_STATE_CLOSING)
        outlet_close(d, reason);
    return outcome(HWO1_RESULT_ACCEPTED, 0);
}

static struct outcome extend(struct hwo1 *d, const uint16_t *w)
{
    struct limits *old = &d->dispense.limits;
    uint32_t volume = LONG(w, LIMIT_VOLUME), time_s = WORD(w, LIMIT_TIME), lease_s = WORD(w, LEASE);

    if (LONG(w, SESSION) != d->dispense.session_id)
        return outcome(HWO1_RESULT_BAD_STATE, 0);
#ifdef SEEDED_FAULT_RELATIVE_EXTEND
    volume += old->volume_ml;
#else
    volume = volume != 0 ? volume : old->volume_ml;
#endif
    time_s = time_s != 0 ? time_s : old->time_ms / 1000;
    lease_s = lease_s != 0 ? lease_s : old->lease_ms / 1000;
    if (volume < old->volume_ml || volume > d->config[CONFIG_CFG_MAX_VOLUME])
        return outcome(HWO1_RESULT_BAD_LIMIT, 1);
    if (time_s < old->time_ms / 1000 || time_s > d->config[CONFIG_CFG_MAX_SESSION])
        return outcome(HWO1_RESULT_BAD_LIMIT, 2);
    if (lease_s > LEASE_S_MAX)
        return outcome(HWO1_RESULT_BAD_LIMIT, 3);
    old->volume_ml = volume;
    old->time_ms = time_s * 1000;
    old->lease_ms = lease_s * 1000;
    d->dispense.leased_at_ms = d->now_ms;
    return outcome(HWO1_RESULT_DONE, 0);
}

static struct outcome pause(struct hwo1 *d, const uint16_t *w)
{
    if (LONG(w, SESSION) != d->dispense.session_id)
        return outcome(HWO1_RESULT_BAD_STATE, 0);
    d->state = HWO1_STATE_PAUSED;
    log_checkpoint(d, HWO1_STATE_PAUSED);
    return outcome(HWO1_RESULT_DONE, 0);
}

static struct outcome self_test(struct hwo1 *d)
{
    if (d->self_test.is_set)
        return outcome(HWO1_RESULT_BUSY, 0);
    d->self_test.is_set = true;
    d->self_test.at_ms = d->now_ms;
    d->state = HWO1_STATE_SERVICE;
    return outcome(HWO1_RESULT_ACCEPTED, 0);
}

static struct outcome refused(const struct hwo1 *d, uint16_t opcode)
{
    uint16_t state = d->state, code = HWO1_RESULT_BAD_STATE;

    if (opcode == HWO1_OPCODE_OPEN && state == HWO1_STATE_LOCKED)
        code = HWO1_RESULT_FAULTED;
    else if (opcode == HWO1_OPCODE_OPEN && d->dispense.open)
        code = HWO1_RESULT_BUSY;
    return outcome(code, state);
}

static struct outcome execute(struct hwo1 *d, const uint16_t *w)
{
    uint16_t opcode = WORD(w, OPCODE);

    if ((ALLOWED[d->state] & 1u << opcode) == 0)
        return refused(d, opcode);
    switch (opcode) {
    case HWO1_OPCODE_OPEN:
        return open_valve(d, w);
    case HWO1_OPCODE_CLOSE:
        return close_valve(d, w);
    case HWO1_OPCODE_EXTEND:
        return extend(d, w);
    case HWO1_OPCODE_PAUSE:
        return pause(d, w);
    case HWO1_OPCODE_SELF_TEST:
        return self_test(d);
    case HWO1_OPCODE_CLEAR_FAULT:
        for (unsigned i = 0; i < sizeof CLEARABLE / sizeof *CLEARABLE; i++)
            device_set_fault(d, CLEARABLE[i], false);
        d->leak_window.is_set = false;
        break;
    case HWO1_OPCODE_SET_CLOCK:
        device_set_clock(d, LONG(w, SESSION) * UINT64_C(1000));
        break;
    case HWO1_OPCODE_IDENTIFY:
        d->identify = d->identified.is_set = true;
        d->identified.at_ms = d->now_ms;
        break;
    default:
        d->reboot_wanted = true;
        if (d->dispense.open)
            outlet_close(d, HWO1_CLOSE_REASON_REBOOT);
        return outcome(HWO1_RESULT_ACCEPTED, 0);
    }
    return outcome(HWO1_RESULT_DONE, 0);
}

static const struct result *seen_before(const struct hwo1 *d, uint16_t token)
{
    for (uint8_t i = 0; i < d->result_count; i++)
        if (d->results[i].token == token)
            return &d->results[i];
    return NULL;
}

static void remember(struct hwo1 *d, const struct result *result)
{
    if (d->result_count == TOKENS_KEPT)
        memmove(d->results, d->results + 1, --d->result_count * sizeof *d->results);
    d->results[d->result_count++] = *result;
    d->dirty = true;
}

static struct outcome judge(struct hwo1 *d, const uint16_t *w)
{
    uint16_t opcode = WORD(w, OPCODE);
    uint64_t not_after_ms = LONG(w, NOT_AFTER) * UINT64_C(1000);

    if (opcode == 0 || opcode >= OPCODES)
        return outcome(HWO1_RESULT_BAD_STATE, 0xFFFF);
    if (not_after_ms != 0 && device_unix_ms(d) == 0)
        return outcome(HWO1_RESULT_EXPIRED, 1);
    if (not_after_ms != 0 && device_unix_ms(d) >= not_after_ms)
        return outcome(HWO1_RESULT_EXPIRED, 0);
    return execute(d, w);
}

/* Whether the seal is the first half of the MAC over all words before it and the number of this very device. */
static bool seal_holds(const struct hwo1 *d, const uint16_t *words)
{
    uint8_t sealed[SEALED_BYTES], shown[SEAL_BYTES], mac[CMAC_BLOCK_BYTES];
    uint8_t different = 0;

    for (int i = 0; i < AT(MAC); i++)
        put_number(sealed + 2 * i, words[i], 2);
    put_number(sealed + 2 * AT(MAC), d->identity.device_uid, 8);
    for (int i = 0; i < SEAL_BYTES / 2; i++)
        put_number(shown + 2 * i, words[AT(MAC) + i], 2);
    cmac(d->identity.key, sealed, SEALED_BYTES, mac);
    for (int i = 0; i < SEAL_BYTES; i++)
        different |= shown[i] ^ mac[i];
    return different == 0;
}

static void show_result(struct hwo1 *d, uint16_t token, struct outcome o)
{
    d->last_result.token = token;
    d->last_result.code = o.code;
    d->last_result.detail = o.detail;
    d->last_result.session_id = outlet_session_id(d);
    d->last_result.pulses = (uint32_t)d->total_pulses;
    d->last_result.snap = d->snap;
}

uint8_t command_run(struct hwo1 *d, const uint16_t *words)
{
    uint16_t token = WORD(words, TOKEN);
    const struct result *first;

    if (token == 0 || WORD(words, COMMIT) != (HWO1_COMMIT_XOR ^ token))
        return ILLEGAL_VALUE;
    memcpy(d->command, words, sizeof d->command);
    if (d->identity.has_key && !seal_holds(d, words)) {
        show_result(d, token, outcome(HWO1_RESULT_BAD_MAC, 0));
        return OK;
    }
#ifdef SEEDED_FAULT_TOKEN_FORGOTTEN
    first = d->last_result.token == token ? seen_before(d, token) : NULL;
#else
    first = seen_before(d, token);
#endif
    if (first != NULL) {
        d->last_result = *first;
        d->last_result.code = HWO1_RESULT_DUPLICATE;
        d->last_result.detail = first->code;
        return OK;
    }
    show_result(d, token, judge(d, words));
    remember(d, &d->last_result);
    return OK;
}
