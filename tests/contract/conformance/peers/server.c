/*
 * A Modbus server on libmodbus: one unit, four tables that any client can check by arithmetic.
 *
 * usage: server tcp PORT UNIT | server rtu PATH UNIT
 * Coils and discrete inputs: bit n is set when n is divisible by 3. Holding register n holds n, input register n holds
 * 65535 - n, except that input registers 900 to 907 hold the float 4212806B in the orders ABCD, BADC, CDAB and DCBA, as
 * words: the library's own modbus_set_float_* of version 3.1.6 swap the bytes of each word.
 * Addresses go from 0 to 1999. Port 0 is any free one. It prints "ready PORT" and serves until its input ends.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <modbus.h>

#define ADDRESSES 2000

static modbus_mapping_t *tables(void)
{
    static const uint16_t floats[] = {0x4212, 0x806B, 0x1242, 0x6B80, 0x806B, 0x4212, 0x6B80, 0x1242};
    modbus_mapping_t *map = modbus_mapping_new(ADDRESSES, ADDRESSES, ADDRESSES, ADDRESSES);
    for (int at = 0; at < ADDRESSES; at++) {
        map->tab_bits[at] = map->tab_input_bits[at] = at % 3 == 0;
        map->tab_registers[at] = (uint16_t)at;
        map->tab_input_registers[at] = (uint16_t)(65535 - at);
    }
    memcpy(map->tab_input_registers + 900, floats, sizeof floats);
    return map;
}

static int input_ended(void)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&input, 1, 0) > 0;
}

static int something_to_read(int fd)
{
    struct pollfd both[2] = {{.fd = fd, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
    poll(both, 2, -1);
    return both[0].revents != 0;
}

/* Answers until the peer hangs up, or until our input ends. */
static void serve(modbus_t *context, modbus_mapping_t *map)
{
    uint8_t request[MODBUS_MAX_ADU_LENGTH];
    while (!input_ended()) {
        if (!something_to_read(modbus_get_socket(context)))
            continue;
        int length = modbus_receive(context, request);
        if (length > 0)
            modbus_reply(context, request, length, map);
        else if (length < 0 && (errno == ECONNRESET || errno == EBADF))
            return;
    }
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: server tcp PORT UNIT | server rtu PATH UNIT\n");
        return 2;
    }
    int is_tcp = strcmp(argv[1], "tcp") == 0;
    modbus_mapping_t *map = tables();
    modbus_t *context =
        is_tcp ? modbus_new_tcp("127.0.0.1", atoi(argv[2])) : modbus_new_rtu(argv[2], 115200, 'N', 8, 1);
    modbus_set_slave(context, atoi(argv[3]));
    if (!is_tcp) {
        if (modbus_connect(context) < 0) {
            fprintf(stderr, "%s\n", modbus_strerror(errno));
            return 1;
        }
        printf("ready 0\n");
        fflush(stdout);
        serve(context, map);
        return 0;
    }
    int listening = modbus_tcp_listen(context, 1);
    struct sockaddr_in where;
    socklen_t size = sizeof where;
    if (listening < 0 || getsockname(listening, (struct sockaddr *)&where, &size) < 0)
        return 1;
    printf("ready %d\n", ntohs(where.sin_port));
    fflush(stdout);
    while (!input_ended()) {
        if (!something_to_read(listening))
            continue;
        if (modbus_tcp_accept(context, &listening) >= 0)
            serve(context, map);
        modbus_close(context);
    }
    return 0;
}
