/* The valve and the meter: counting, the limits that close an open valve, leaks while it is shut. */
#include <string.h>

#include "device.h"

/* Faults during which the valve does not open, in the order in which OPEN names them. */
static const uint32_t BLOCKING[] = {
    HWO1_FAULTS_STUCK_OPEN,  HWO1_FAULTS_STUCK_CLOSED, HWO1_FAULTS_LEAK_CLOSED, HWO1_FAULTS_OVER_TEMP,
    HWO1_FAULTS_TEMP_SENSOR, HWO1_FAULTS_FLOW_SENSOR,  HWO1_FAULTS_TAMPER,      HWO1_FAULTS_LOW_BACKUP,
    HWO1_FAULTS_NVM_CRC,     HWO1_FAULTS_FREEZE,       HWO1_FAULTS_CAL_INVALID,
};

/* Faults that a power cut does not heal. */
#define LATCHED                                                                                                        \
    (HWO1_FAULTS_STUCK_OPEN | HWO1_FAULTS_STUCK_CLOSED | HWO1_FAULTS_LEAK_CLOSED | HWO1_FAULTS_NO_FLOW |               \
     HWO1_FAULTS_REVERSE_FLOW | HWO1_FAULTS_TAMPER | HWO1_FAULTS_NVM_CRC | HWO1_FAULTS_BURST_FLOW |                    \
     HWO1_FAULTS_FREEZE | HWO1_FAULTS_CAL_INVALID | HWO1_FAULTS_OVER_TEMP)

uint32_t outlet_blocking_fault(const struct hwo1 *d)
{
    for (unsigned i = 0; i < sizeof BLOCKING / sizeof *BLOCKING; i++)
        if (device_has_fault(d, BLOCKING[i]))
            return BLOCKING[i];
    return 0;
}

bool outlet_valve_drive(const struct hwo1 *d)
{
    return d->state == HWO1_STATE_ARMED || d->state == HWO1_STATE_DISPENSING;
}

uint16_t outlet_resting_state(const struct hwo1 *d)
{
    if (d->sample.service_key)
        return HWO1_STATE_SERVICE;
    return device_has_fault(d, HWO1_FAULTS_OVER_TEMP) ? HWO1_STATE_LOCKED : HWO1_STATE_IDLE;
}

/* Rounded down. Exact up to 18 million million pulses. */
uint64_t outlet_volume_ml(const struct hwo1 *d, uint64_t pulses)
{
    uint32_t k = d->config[CONFIG_CFG_CAL_K];

    return pulses * 1000000 / (k != 0 ? k : 1);
}

uint32_t outlet_session_id(const struct hwo1 *d)
{
    return d->dispense.open ? d->dispense.session_id : d->last_session_id;
}

uint64_t outlet_session_pulses(const struct hwo1 *d)
{
    return d->dispense.open ? d->total_pulses - d->dispense.opening_pulses : d->last_pulses;
}

uint64_t outlet_session_elapsed_ms(const struct hwo1 *d)
{
    return d->dispense.open ? d->now_ms - d->dispense.opened_at_ms : d->last_elapsed_ms;
}

uint16_t outlet_flow_centilpm(const struct hwo1 *d)
{
    uint64_t pulses = 0, flow;

    for (uint16_t i = 0; i < d->recent.count; i++)
        pulses += d->recent.pulses[(d->recent.first + i) % FLOW_PLACES];
    flow = outlet_volume_ml(d, pulses) * 6;
    return (uint16_t)(flow < 65534 ? flow : 65534);
}

uint32_t outlet_lease_left_ms(const struct hwo1 *d)
{
    uint64_t end_ms = d->dispense.leased_at_ms + d->dispense.limits.lease_ms;

    if (!d->dispense.open || d->state == HWO1_STATE_CLOSING || end_ms < d->now_ms)
        return 0;
    return (uint32_t)(end_ms - d->now_ms);
}

uint16_t outlet_valve_position(const struct hwo1 *d)
{
    if (d->state == HWO1_STATE_CLOSING)
        return HWO1_VALVE_POS_CLOSING;
    if (!outlet_valve_drive(d))
        return HWO1_VALVE_POS_CLOSED;
    return d->now_ms - d->dispense.driven_at_ms < TRAVEL_MS ? HWO1_VALVE_POS_OPENING : HWO1_VALVE_POS_OPEN;
}

void outlet_check_log_room(struct hwo1 *d)
{
    device_set_fault(d, HWO1_FAULTS_LOG_FULL, log_waiting(d) >= LOG_CAPACITY - LOG_RESERVED);
}

static void log_end(struct hwo1 *d, uint16_t reason)
{
    struct entry entry = {0};

    entry.type = HWO1_RECORD_TYPE_END;
    entry.session_id = d->dispense.session_id;
    entry.token_tag = d->dispense.token_tag;
    entry.pulses = (uint32_t)d->last_pulses;
    entry.aux = reason;
    log_append(d, &entry);
}

/* A session found open ends with POWER_LOSS, in the same commit that clears its slot. */
void outlet_restore(struct hwo1 *d)
{
    struct entry boot = {0};

    d->faults &= LATCHED;
    d->sample.temp = HAL_NO_TEMP;
    d->flowed_at_ms = d->now_ms;
    if (d->dispense.open) {
        d->close_reason = HWO1_CLOSE_REASON_POWER_LOSS;
        d->last_session_id = d->dispense.session_id;
        d->last_pulses = d->total_pulses - d->dispense.opening_pulses;
        d->dispense.open = false;
        log_end(d, HWO1_CLOSE_REASON_POWER_LOSS);
    }
    boot.type = HWO1_RECORD_TYPE_BOOT;
    log_append(d, &boot);
    if (!d->clock.is_set)
        d->faults |= HWO1_FAULTS_CLOCK_UNSET;
    d->state = device_has_fault(d, HWO1_FAULTS_OVER_TEMP) ? HWO1_STATE_LOCKED : HWO1_STATE_BOOT;
    outlet_check_log_room(d);
    device_check_calibration(d);
}

/* Tick steps 1 and 2: the flow window, the idle timer, the energy. */
void outlet_note_flow(struct hwo1 *d)
{
    const struct hal_sample *s = &d->sample;
    struct flow_window *w = &d->recent;

    if (s->pulses != 0) {
        if (w->count == FLOW_PLACES) {
            w->first = (uint16_t)((w->first + 1) % FLOW_PLACES);
            w->count--;
        }
        w->at_ms[(w->first + w->count) % FLOW_PLACES] = d->now_ms;
        w->pulses[(w->first + w->count) % FLOW_PLACES] = s->pulses;
        w->count++;
        d->flowed_at_ms = d->now_ms;
        device_set_fault(d, HWO1_FAULTS_NO_FLOW, false);
    }
    while (w->count != 0 && d->now_ms - w->at_ms[w->first] >= FLOW_WINDOW_MS) {
        w->first = (uint16_t)((w->first + 1) % FLOW_PLACES);
        w->count--;
    }
    if (s->pulses != 0 && s->temp != HAL_NO_TEMP && s->temp_in != HAL_NO_TEMP && s->temp > s->temp_in) {
        uint64_t k = d->config[CONFIG_CFG_CAL_K];

        d->energy += (uint64_t)s->pulses * 1000000 * (uint64_t)(s->temp - s->temp_in) * WATER_J_PER_L_K / (k ? k : 1);
    }
}

/* Tick step 5: key switch and self-test. */
void outlet_service(struct hwo1 *d)
{
    bool key = d->sample.service_key;

    if (d->dispense.open) {
        if (key && !d->key_felt && d->state != HWO1_STATE_CLOSING) {
            struct entry entry = {0};

            entry.type = HWO1_RECORD_TYPE_LOCAL_CLOSE;
            entry.aux = 2;
            entry.session_id = d->dispense.session_id;
            entry.token_tag = d->dispense.token_tag;
            entry.pulses = (uint32_t)outlet_session_pulses(d);
            log_append(d, &entry);
            outlet_close(d, HWO1_CLOSE_REASON_USER);
        }
        return;
    }
    if (d->self_test.is_set) {
        if (d->now_ms - d->self_test.at_ms < SELF_TEST_MS)
            return;
        d->self_test.is_set = false;
        device_set_fault(d, HWO1_FAULTS_STUCK_CLOSED, d->sample.coil_open);
    }
    if (d->state != HWO1_STATE_BOOT)
        d->state = outlet_resting_state(d);
}

void outlet_close(struct hwo1 *d, uint16_t reason)
{
    d->state = HWO1_STATE_CLOSING;
    d->dispense.reason = reason;
    d->dispense.closing_at_ms = d->now_ms;
    if (reason == HWO1_CLOSE_REASON_SCALD)
        device_set_fault(d, HWO1_FAULTS_OVER_TEMP, true);
    else if (reason == HWO1_CLOSE_REASON_LEAK)
        device_set_fault(d, HWO1_FAULTS_BURST_FLOW, true);
    else if (reason == HWO1_CLOSE_REASON_LEASE)
        device_set_fault(d, HWO1_FAULTS_LEASE_EXPIRED, true);
    else if (reason == HWO1_CLOSE_REASON_COMM_WATCHDOG)
        device_set_fault(d, HWO1_FAULTS_COMM_TIMEOUT, true);
    else if (reason == HWO1_CLOSE_REASON_NO_FLOW && outlet_session_pulses(d) == 0)
        device_set_fault(d, HWO1_FAULTS_NO_FLOW, true);
}

static uint64_t held_ms(struct since *since, bool condition, uint64_t now_ms)
{
    if (condition && !since->is_set)
        since->at_ms = now_ms;
    since->is_set = condition;
    return condition ? now_ms - since->at_ms : 0;
}

/* Return why the valve must close now, most dangerous first, or NONE. */
static uint16_t closing_reason(struct hwo1 *d)
{
    const struct dispense *s = &d->dispense;
    uint64_t now = d->now_ms, max_ms = (uint64_t)d->config[CONFIG_CFG_MAX_SESSION] * 1000;
    bool is_hot = d->sample.temp != HAL_NO_TEMP && d->sample.temp > s->limits.temp;
    uint64_t hot_ms = held_ms(&d->hot, is_hot, now);
    bool is_burst = outlet_flow_centilpm(d) > d->config[CONFIG_CFG_BURST];
    uint64_t burst_ms = held_ms(&d->burst, is_burst, now);

    if (d->hot.is_set && hot_ms >= (uint64_t)d->config[CONFIG_CFG_TEMP_HOLD] * 100)
        return HWO1_CLOSE_REASON_SCALD;
    if (outlet_blocking_fault(d) != 0)
        return HWO1_CLOSE_REASON_FAULT;
    if (d->burst.is_set && burst_ms >= BURST_HOLD_MS)
        return HWO1_CLOSE_REASON_LEAK;
#ifdef SEEDED_FAULT_VOLUME_LIMIT
    if (outlet_volume_ml(d, outlet_session_pulses(d)) > s->limits.volume_ml)
#else
    if (outlet_volume_ml(d, outlet_session_pulses(d)) >= s->limits.volume_ml)
#endif
        return HWO1_CLOSE_REASON_VOLUME_LIMIT;
    if (now - s->opened_at_ms >= (s->limits.time_ms < max_ms ? s->limits.time_ms : max_ms))
        return HWO1_CLOSE_REASON_TIME_LIMIT;
    if (now - s->leased_at_ms >= s->limits.lease_ms)
        return HWO1_CLOSE_REASON_LEASE;
    if (now - d->frame_at_ms >= (uint64_t)d->config[CONFIG_CFG_COMM_WATCHDOG] * 1000)
        return HWO1_CLOSE_REASON_COMM_WATCHDOG;
    if (d->state != HWO1_STATE_PAUSED && now - s->flowed_at_ms >= s->limits.idle_ms)
        return HWO1_CLOSE_REASON_NO_FLOW;
    return HWO1_CLOSE_REASON_NONE;
}

static void finish_closing(struct hwo1 *d)
{
    struct dispense *s = &d->dispense;
    uint64_t since_ms = d->now_ms - s->closing_at_ms;
    bool quiet = d->now_ms - d->flowed_at_ms >= QUIET_MS;
    bool stuck = since_ms >= d->config[CONFIG_CFG_CLOSE_TIME] && !quiet;

    if (!stuck && (since_ms < TRAVEL_MS || !quiet))
        return;
    d->last_session_id = s->session_id;
    d->last_pulses = outlet_session_pulses(d);
    d->last_elapsed_ms = outlet_session_elapsed_ms(d);
    d->close_reason = s->reason;
    s->open = false;
    d->hot.is_set = d->burst.is_set = d->leak_window.is_set = false;
    log_end(d, s->reason);
    d->state = outlet_resting_state(d);
    outlet_check_log_room(d);
    if (stuck)
        device_set_fault(d, HWO1_FAULTS_STUCK_OPEN, true);
}

void outlet_watch(struct hwo1 *d, uint64_t elapsed_ms)
{
    uint16_t reason;

    if (d->sample.pulses != 0) {
        d->dispense.flowed_at_ms = d->now_ms;
        if (d->state == HWO1_STATE_ARMED)
            d->state = HWO1_STATE_DISPENSING;
    }
    if (d->state == HWO1_STATE_CLOSING) {
        finish_closing(d);
        return;
    }
    if (outlet_valve_drive(d))
        d->open_time_ms += elapsed_ms;
    reason = closing_reason(d);
    if (reason != HWO1_CLOSE_REASON_NONE)
        outlet_close(d, reason);
}

void outlet_log_unbilled(struct hwo1 *d)
{
    struct entry entry = {0};

    if (d->unbilled_pulses == 0)
        return;
    entry.type = HWO1_RECORD_TYPE_UNBILLED_FLOW;
    entry.pulses = (uint32_t)d->unbilled_pulses;
    if (log_append(d, &entry))
        d->unbilled_pulses = 0;
}

void outlet_watch_closed(struct hwo1 *d)
{
    const struct hal_sample *s = &d->sample;
    uint64_t window_ms = (uint64_t)d->config[CONFIG_CFG_LEAK_WINDOW] * 1000;

    if (d->state == HWO1_STATE_LOCKED && s->temp != HAL_NO_TEMP && s->temp < SCALD_RELEASE_DECIDEGC) {
        device_set_fault(d, HWO1_FAULTS_OVER_TEMP, false);
        d->state = outlet_resting_state(d);
    }
    if (s->pulses != 0) {
        d->unbilled_pulses += s->pulses;
        if (!d->leak_window.is_set || d->now_ms - d->leak_window.at_ms >= window_ms) {
            d->leak_window.is_set = true;
            d->leak_window.at_ms = d->now_ms;
            d->leak_pulses = 0;
        }
        d->leak_pulses += s->pulses;
    }
    if (d->leak_window.is_set && outlet_volume_ml(d, d->leak_pulses) > d->config[CONFIG_CFG_LEAK_VOLUME] &&
        !device_has_fault(d, HWO1_FAULTS_LEAK_CLOSED)) {
        device_set_fault(d, HWO1_FAULTS_LEAK_CLOSED, true);
        outlet_log_unbilled(d);
    } else if (d->now_ms - d->flowed_at_ms >= window_ms) {
        outlet_log_unbilled(d);
    }
}

/* The slot rule: every liter, and during a session every ten seconds in which water ran. */
void outlet_keep_register(struct hwo1 *d)
{
    uint64_t moved = d->total_pulses - d->saved_pulses;
    bool late = d->dispense.open && d->now_ms - d->saved_at_ms >= SLOT_MS;

#ifdef SEEDED_FAULT_SLOT_RULE
    late = false;
#endif
    if (moved != 0 && (late || outlet_volume_ml(d, moved) >= SLOT_ML))
        d->dirty = true;
}
