/* The life of the whole: boot, the tick, the clock, faults. The order of things is hardware/HWO1_BEHAVIOR.md. */
#include <string.h>

#include "device.h"

#define DEFAULT_OF(name, table, address, words, type, access, low, high, fallback, persist) (uint32_t)(fallback),
static const uint32_t CONFIG_DEFAULTS[CONFIG_COUNT] = {HWO1_POINTS_CFG(DEFAULT_OF)};

static void restore(struct hwo1 *d);

static void forget(struct hwo1 *d, const struct hal *hal, const struct identity *identity,
                   const struct hal_sample *sample, uint64_t now_ms)
{
    memset(d, 0, sizeof *d);
    d->hal = hal;
    d->identity = *identity;
    d->sample = *sample;
    d->now_ms = now_ms;
    d->snap = 1;
}

void device_start(struct hwo1 *d, const struct hal *hal, const struct identity *identity,
                  const struct hal_sample *sample, uint64_t now_ms, uint64_t unix_ms)
{
    forget(d, hal, identity, sample, now_ms);
    d->clock.is_set = unix_ms != 0;
    d->clock.offset_ms = (int64_t)unix_ms - (int64_t)now_ms;
    restore(d);
}

/* As after power-up, but the clock goes on. */
static void reboot(struct hwo1 *d)
{
    struct hwo1_clock clock = d->clock;
    struct hal_sample sample = d->sample;
    struct identity identity = d->identity;
    uint16_t snap = d->snap;

    d->dirty = true;
    store_commit(d);
    forget(d, d->hal, &identity, &sample, d->now_ms);
    d->clock = clock;
    d->snap = snap;
    restore(d);
}

/* Take from FRAM what is kept and start everything else anew. */
static void restore(struct hwo1 *d)
{
    enum stored stored;

    memcpy(d->config, CONFIG_DEFAULTS, sizeof d->config);
    d->config[CONFIG_CFG_CAL_K] = d->identity.k_factor;
    d->config[CONFIG_CFG_UNIT] = d->identity.unit;
    stored = store_load(d);
    d->boot_id = (uint16_t)(d->boot_id % 0xFFFF + 1);
    d->booted_at_ms = d->frame_at_ms = d->now_ms;
    d->link_age_s = 0;
    d->rebooted = true;
    mailbox_start(&d->mailbox, d->boot_id);
    outlet_restore(d);
    if (stored == STORE_DAMAGED)
        d->faults |= HWO1_FAULTS_NVM_CRC;
    rtu_start(d);
    d->hal->valve(d->hal->context, false);
    store_commit(d);
}

uint8_t bit_number(uint32_t mask)
{
    uint8_t number = 0;

    while ((mask >>= 1) != 0)
        number++;
    return number;
}

bool device_has_fault(const struct hwo1 *d, uint32_t mask)
{
    return (d->faults & mask) != 0;
}

/* Raise or clear one fault and log the change. */
void device_set_fault(struct hwo1 *d, uint32_t mask, bool on)
{
    if (device_has_fault(d, mask) == on)
        return;
    d->faults ^= mask;
    d->dirty = true;
    if (mask != HWO1_FAULTS_LOG_FULL) {
        struct entry entry = {0};

        entry.type = on ? HWO1_RECORD_TYPE_FAULT_SET : HWO1_RECORD_TYPE_FAULT_CLR;
        entry.aux = bit_number(mask);
        log_append(d, &entry);
    }
}

void device_check_calibration(struct hwo1 *d)
{
    device_set_fault(d, HWO1_FAULTS_CAL_INVALID, d->config[CONFIG_CFG_CAL_K] < CAL_K_MIN);
}

uint64_t device_unix_ms(const struct hwo1 *d)
{
    return d->clock.is_set ? (uint64_t)((int64_t)d->now_ms + d->clock.offset_ms) : 0;
}

uint16_t device_clock_quality(const struct hwo1 *d)
{
    if (!d->clock.is_set)
        return HWO1_CLOCK_QUALITY_UNSET;
    if (d->clock.synced.is_set && d->now_ms - d->clock.synced.at_ms < CLOCK_SYNCED_MS)
        return HWO1_CLOCK_QUALITY_SYNCED;
    return HWO1_CLOCK_QUALITY_FREE_RUN;
}

static int64_t floor_div(int64_t number, int64_t by)
{
    return number / by - (number % by < 0);
}

static void note_drift(struct hwo1 *d, int64_t ahead_ms)
{
    int64_t own_ms = (int64_t)d->now_ms - (int64_t)d->clock.synced.at_ms;
    int64_t true_ms = own_ms - ahead_ms;

    if (!d->clock.synced.is_set || true_ms < DRIFT_AFTER_MS)
        return;
    own_ms = floor_div(ahead_ms * 1000000, true_ms);
    d->clock.drift_ppm = (int16_t)(own_ms > 32767 ? 32767 : own_ms < -32767 ? -32767 : own_ms);
}

void device_set_clock(struct hwo1 *d, uint64_t unix_ms)
{
    int64_t ahead_ms = (int64_t)device_unix_ms(d) - (int64_t)unix_ms;
    uint64_t step_s = (uint64_t)(ahead_ms < 0 ? -ahead_ms : ahead_ms) / 1000;

    note_drift(d, ahead_ms);
    d->clock.is_set = true;
    d->clock.offset_ms = (int64_t)unix_ms - (int64_t)d->now_ms;
    d->clock.synced.is_set = true;
    d->clock.synced.at_ms = d->now_ms;
    if (step_s > CLOCK_STEP_S) {
        struct entry entry = {0};

        entry.type = HWO1_RECORD_TYPE_CLOCK_STEP;
        entry.aux = (uint16_t)(step_s < 0xFFFF ? step_s : 0xFFFF);
        log_append(d, &entry);
    }
    device_set_fault(d, HWO1_FAULTS_CLOCK_UNSET, false);
}

void device_next_snap(struct hwo1 *d)
{
    d->snap = (uint16_t)(d->snap % 0xFFFF + 1);
}

void device_move_to(struct hwo1 *d, uint64_t now_ms)
{
    if (now_ms > d->now_ms)
        d->now_ms = now_ms;
}

void device_frame_seen(struct hwo1 *d)
{
    uint64_t age_s = (d->now_ms - d->frame_at_ms) / 1000;

    d->link_age_s = (uint16_t)(age_s < 0xFFFF ? age_s : 0xFFFF);
    d->frame_at_ms = d->now_ms;
    d->frames++;
    device_set_fault(d, HWO1_FAULTS_COMM_TIMEOUT, false);
    store_commit(d);
}

/* A level with hysteresis: on below `low`, off from `good`. */
static void watch_level(struct hwo1 *d, uint32_t mask, uint16_t value, uint16_t low, uint16_t good)
{
    if (value < low)
        device_set_fault(d, mask, true);
    else if (value >= good)
        device_set_fault(d, mask, false);
}

static bool is_freezing(int16_t temp)
{
    return temp != HAL_NO_TEMP && temp <= FREEZE_DECIDEGC;
}

static void log_tamper(struct hwo1 *d, uint16_t what)
{
    struct entry entry = {0};

    entry.type = HWO1_RECORD_TYPE_TAMPER;
    entry.aux = what;
    log_append(d, &entry);
}

static void watch_inputs(struct hwo1 *d)
{
    const struct hal_sample *s = &d->sample;

    device_set_fault(d, HWO1_FAULTS_TEMP_SENSOR, s->temp == HAL_NO_TEMP);
    if (s->reverse_pulses != 0)
        device_set_fault(d, HWO1_FAULTS_REVERSE_FLOW, true);
    if (is_freezing(s->temp) || is_freezing(s->temp_in))
        device_set_fault(d, HWO1_FAULTS_FREEZE, true);
    if (s->flow_unplugged && !d->unplugged_felt)
        log_tamper(d, 2);
    device_set_fault(d, HWO1_FAULTS_FLOW_SENSOR, s->flow_unplugged);
    if (s->lid_open && !d->lid_felt)
        log_tamper(d, 1);
    if (s->lid_open)
        device_set_fault(d, HWO1_FAULTS_TAMPER, true);
    watch_level(d, HWO1_FAULTS_LOW_SUPPLY, s->supply_mv, SUPPLY_LOW_MV, SUPPLY_GOOD_MV);
    watch_level(d, HWO1_FAULTS_LOW_BACKUP, s->backup_mv, BACKUP_LOW_MV, BACKUP_GOOD_MV);
    device_set_fault(d, HWO1_FAULTS_READER_OFFLINE, s->reader_silent);
}

void device_tick(struct hwo1 *d, uint64_t now_ms, const struct hal_sample *sample)
{
    uint64_t elapsed_ms = now_ms > d->now_ms ? now_ms - d->now_ms : 0;

    device_move_to(d, now_ms);
    d->sample = *sample;
    d->total_pulses += sample->pulses;
    d->reverse_pulses += sample->reverse_pulses;
    device_next_snap(d);
    if (d->identified.is_set && d->now_ms - d->identified.at_ms >= IDENTIFY_MS)
        d->identify = d->identified.is_set = false;
    outlet_note_flow(d);
    watch_inputs(d);
    if (d->state == HWO1_STATE_BOOT && d->now_ms - d->booted_at_ms >= BOOT_MS)
        d->state = outlet_resting_state(d);
    outlet_service(d);
    d->key_felt = sample->service_key;
    d->lid_felt = sample->lid_open;
    d->unplugged_felt = sample->flow_unplugged;
    if (d->dispense.open)
        outlet_watch(d, elapsed_ms);
    else
        outlet_watch_closed(d);
    if (d->reboot_wanted && !d->dispense.open)
        reboot(d);
    outlet_keep_register(d);
    d->hal->valve(d->hal->context, outlet_valve_drive(d));
    store_commit(d);
}

void device_falling_supply(struct hwo1 *d, uint64_t now_ms)
{
    device_move_to(d, now_ms);
    d->dirty = true;
    store_commit(d);
}

void device_press_stop(struct hwo1 *d, uint64_t now_ms)
{
    device_move_to(d, now_ms);
    if (!d->dispense.open) {
        mailbox_post(d, HWO1_MAILBOX_SOURCE_BUTTON, d->disp_text, 0, d->disp_text, 0);
    } else if (d->state != HWO1_STATE_CLOSING) {
        struct entry entry = {0};

        entry.type = HWO1_RECORD_TYPE_LOCAL_CLOSE;
        entry.aux = 1;
        entry.session_id = d->dispense.session_id;
        entry.token_tag = d->dispense.token_tag;
        entry.pulses = (uint32_t)outlet_session_pulses(d);
        log_append(d, &entry);
        outlet_close(d, HWO1_CLOSE_REASON_USER);
    }
    d->hal->valve(d->hal->context, outlet_valve_drive(d));
    store_commit(d);
}
