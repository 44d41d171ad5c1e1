/* RTU framing by time (MODBUS over serial line V1.02, 2.5.1.1): 3.5 characters of silence end a frame, more than 1.5
 * inside one spoil it. Above 19200 baud the times are fixed. Spoiled frames are counted and met with silence. */
#include "crc.h"
#include "device.h"

enum { BROADCAST = 0, FRAME_BYTES_MIN = 4, FIXED_T15_US = 750, FIXED_T35_US = 1750, FRAMING_8N1 = 3 };

void rtu_start(struct hwo1 *d)
{
    uint32_t baud = d->config[CONFIG_CFG_BAUD] * 100;
    uint32_t bits = d->config[CONFIG_CFG_FRAMING] == FRAMING_8N1 ? 10 : 11;

    d->rtu.in_len = d->rtu.out_len = 0;
    d->rtu.spoiled = false;
    if (baud > 19200) {
        d->rtu.t15_us = FIXED_T15_US;
        d->rtu.t35_us = FIXED_T35_US;
    } else {
        d->rtu.t15_us = bits * 1500000 / baud;
        d->rtu.t35_us = bits * 3500000 / baud;
    }
}

static void end_frame(struct hwo1 *d, uint64_t now_us)
{
    struct rtu *r = &d->rtu;
    uint16_t size = r->in_len;
    bool spoiled = r->spoiled || size < FRAME_BYTES_MIN;

    r->in_len = 0;
    r->spoiled = false;
    if (spoiled || crc16(r->in, (uint16_t)(size - 2)) != (r->in[size - 2] | r->in[size - 1] << 8)) {
        d->crc_errors++;
        return;
    }
    if (r->in[0] == BROADCAST) {
        device_move_to(d, now_us / 1000);
        pdu_broadcast(d, r->in + 1, (uint16_t)(size - 3));
    } else if (r->in[0] == d->config[CONFIG_CFG_UNIT]) {
        device_move_to(d, now_us / 1000);
        device_frame_seen(d);
        r->out[0] = r->in[0];
        r->out_len = (uint16_t)(1 + pdu_answer(d, r->in + 1, (uint16_t)(size - 3), r->out + 1));
#ifdef SEEDED_FAULT_CRC_ORDER
        uint16_t crc = (uint16_t)(crc16(r->out, r->out_len) << 8 | crc16(r->out, r->out_len) >> 8);
#else
        uint16_t crc = crc16(r->out, r->out_len);
#endif
        r->out[r->out_len++] = (uint8_t)crc;
        r->out[r->out_len++] = (uint8_t)(crc >> 8);
        r->send_at_us = now_us + d->config[CONFIG_CFG_TURNAROUND] * 1000;
    }
}

void rtu_byte(struct hwo1 *d, uint8_t byte, uint64_t now_us)
{
    struct rtu *r = &d->rtu;

    rtu_look(d, now_us);
    if (r->in_len != 0 && now_us - r->last_byte_us > r->t15_us)
        r->spoiled = true;
    r->last_byte_us = now_us;
    if (r->in_len == ADU_BYTES_MAX)
        r->spoiled = true;
    else
        r->in[r->in_len++] = byte;
}

void rtu_look(struct hwo1 *d, uint64_t now_us)
{
    struct rtu *r = &d->rtu;

    if (r->in_len != 0 && now_us - r->last_byte_us >= r->t35_us)
        end_frame(d, now_us);
    if (r->out_len != 0 && now_us >= r->send_at_us) {
        d->hal->uart_send(d->hal->context, r->out, r->out_len);
        r->out_len = 0;
    }
}
