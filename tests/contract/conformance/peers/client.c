/*
 * A Modbus client on libmodbus, driven by lines on standard input.
 *
 * usage: client tcp HOST PORT | client rtu PATH
 * line:  timeout_ms unit function address count [values...]
 *        function 22 takes the two masks as values; 23 takes: read_address read_count, then the values
 *        function 0 decodes a float: values are its two registers, answered in the four byte orders
 * reply: ok [values...] | refused CODE | silent | error TEXT
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <modbus.h>

#define ROOM 2048

static modbus_t *connect_as_told(int argc, char **argv)
{
    modbus_t *context = NULL;
    if (argc == 4 && strcmp(argv[1], "tcp") == 0)
        context = modbus_new_tcp(argv[2], atoi(argv[3]));
    else if (argc == 3 && strcmp(argv[1], "rtu") == 0)
        context = modbus_new_rtu(argv[2], 115200, 'N', 8, 1);
    if (context == NULL || modbus_connect(context) < 0) {
        fprintf(stderr, "cannot connect: %s\n", modbus_strerror(errno));
        exit(1);
    }
    return context;
}

static void print_words(const uint16_t *words, int count)
{
    printf("ok");
    for (int at = 0; at < count; at++)
        printf(" %u", words[at]);
    printf("\n");
}

static void print_bits(const uint8_t *bits, int count)
{
    printf("ok");
    for (int at = 0; at < count; at++)
        printf(" %u", bits[at]);
    printf("\n");
}

static void print_trouble(void)
{
    if (errno > MODBUS_ENOBASE && errno < MODBUS_ENOBASE + MODBUS_EXCEPTION_MAX)
        printf("refused %d\n", errno - MODBUS_ENOBASE);
    else if (errno == ETIMEDOUT)
        printf("silent\n");
    else
        printf("error %s\n", modbus_strerror(errno));
}

static void ask(modbus_t *context, int function, int address, int count, const uint16_t *values, int given)
{
    static uint8_t bits[ROOM];
    static uint16_t words[ROOM];
    int done = -1;

    for (int at = 0; at < given && function == 15; at++)
        bits[at] = values[at] != 0;
    switch (function) {
    case 0:
        printf("ok %.9g %.9g %.9g %.9g\n", modbus_get_float_abcd(values), modbus_get_float_badc(values),
               modbus_get_float_cdab(values), modbus_get_float_dcba(values));
        return;
    case 1:
        done = modbus_read_bits(context, address, count, bits);
        break;
    case 2:
        done = modbus_read_input_bits(context, address, count, bits);
        break;
    case 3:
        done = modbus_read_registers(context, address, count, words);
        break;
    case 4:
        done = modbus_read_input_registers(context, address, count, words);
        break;
    case 5:
        done = modbus_write_bit(context, address, values[0]);
        break;
    case 6:
        done = modbus_write_register(context, address, values[0]);
        break;
    case 15:
        done = modbus_write_bits(context, address, given, bits);
        break;
    case 16:
        done = modbus_write_registers(context, address, given, values);
        break;
    case 22:
        done = modbus_mask_write_register(context, address, values[0], values[1]);
        break;
    case 23:
        done = modbus_write_and_read_registers(context, address, given - 2, values + 2, values[0], values[1], words);
        break;
    default:
        printf("error no function %d here\n", function);
        return;
    }
    if (done < 0)
        print_trouble();
    else if (function <= 2)
        print_bits(bits, count);
    else if (function <= 4)
        print_words(words, count);
    else if (function == 23)
        print_words(words, values[1]);
    else
        printf("ok\n");
}

int main(int argc, char **argv)
{
    static char line[65536];
    static uint16_t values[ROOM];
    modbus_t *context = connect_as_told(argc, argv);

    printf("ready\n");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        char *rest = line;
        long timeout_ms = strtol(rest, &rest, 10);
        int unit = (int)strtol(rest, &rest, 10);
        int function = (int)strtol(rest, &rest, 10);
        int address = (int)strtol(rest, &rest, 10);
        int count = (int)strtol(rest, &rest, 10);
        int given = 0;
        for (;;) {
            char *end = rest;
            long value = strtol(rest, &end, 10);
            if (end == rest || given == ROOM)
                break;
            values[given++] = (uint16_t)value;
            rest = end;
        }
        modbus_set_response_timeout(context, (uint32_t)(timeout_ms / 1000), (uint32_t)(timeout_ms % 1000) * 1000);
        modbus_set_slave(context, unit);
        ask(context, function, address, count, values, given);
        modbus_flush(context);
        fflush(stdout);
    }
    modbus_close(context);
    modbus_free(context);
    return 0;
}
