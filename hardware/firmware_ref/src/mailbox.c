/* What the reader has seen and the gateway has not yet taken: a short queue, oldest first, taken by sequence. Sequences
 * start far from those of the last boot, so that an old acknowledgement cannot take a new item. */
#include <string.h>

#include "device.h"

void mailbox_start(struct mailbox *m, uint16_t boot_id)
{
    memset(m, 0, sizeof *m);
    m->seq = (uint16_t)(boot_id * 1009u);
}

static void drop_first(struct mailbox *m)
{
    m->count--;
    memmove(m->items, m->items + 1, m->count * sizeof *m->items);
}

uint16_t mailbox_post(struct hwo1 *d, uint16_t source, const uint8_t *uid, uint16_t uid_len, const uint8_t *payload,
                      uint16_t len)
{
    struct mailbox *m = &d->mailbox;
    struct item *item;

    if (device_has_fault(d, HWO1_FAULTS_READER_OFFLINE) && source != HWO1_MAILBOX_SOURCE_BUTTON)
        return 0;
    m->seq = (uint16_t)(m->seq % 0xFFFF + 1);
    if (m->count == MAILBOX_CAPACITY) {
        drop_first(m);
        m->dropped = true;
    }
    item = &m->items[m->count++];
    memset(item, 0, sizeof *item);
    item->seq = m->seq;
    item->source = source;
    item->at_ms = d->now_ms;
    item->unix_time = (uint32_t)(device_unix_ms(d) / 1000);
    item->flags = (uint16_t)((m->dropped ? HWO1_MAILBOX_FLAGS_DROPPED : 0) |
                             (len > PAYLOAD_BYTES_MAX || uid_len > UID_BYTES_MAX ? HWO1_MAILBOX_FLAGS_TRUNCATED : 0));
    item->uid_len = (uint8_t)(uid_len < UID_BYTES_MAX ? uid_len : UID_BYTES_MAX);
    item->len = (uint8_t)(len < PAYLOAD_BYTES_MAX ? len : PAYLOAD_BYTES_MAX);
#ifdef SEEDED_FAULT_LONG_UID
    item->uid_len = (uint8_t)uid_len;
    for (uint16_t i = 0; i < uid_len; i++)
        item->uid[i] = uid[i];
#else
    memcpy(item->uid, uid, item->uid_len);
#endif
    memcpy(item->payload, payload, item->len);
    m->dropped = false;
    return m->seq;
}

void mailbox_acknowledge(struct mailbox *m, uint16_t sequence)
{
    if (m->count != 0 && m->items[0].seq == sequence)
        drop_first(m);
}
