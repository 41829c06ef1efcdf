/* The raw-send floor: the least that a gateway can cost on this kernel, to compare real ones with.
 *
 * One thread, one epoll. Trades come straight from ws-load, which takes this for a Redis; each becomes the gateway's
 * frame once, and is sent to each subscriber's socket. No outbox, no timers, no limits: a send that is short, or a request
 * cut in two, ends the program with a message, and the run is void.
 *
 *   floor WS_PORT FEED_PORT message    one send a trade and subscriber
 *   floor WS_PORT FEED_PORT burst      one send a subscriber of all trades that were read at once, symbol by symbol
 *
 * It understands what ws-load says and nothing else: symbols are S0000, S0001 ..., the nonce is the RFC's own example. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { SYMBOLS = 100000, CONNECTIONS = 65536, HELD_MAX = 16, READ_BYTES = 256 * 1024 };

/* Who wants a symbol: descriptors, back to back. */
static struct { int *sockets; int count, room; } subscribers[SYMBOLS];
/* By descriptor: what it holds, so that it can be taken out again. */
static struct { char is_feed, is_upgraded; int count; int symbols[HELD_MAX]; } connections[CONNECTIONS];

static int epoll, is_burst;
static char feed[READ_BYTES];
static size_t feed_len;
/* Frames of one read, and the replies to it. A frame is at most 52 bytes longer than its payload. */
static char frames[2 * READ_BYTES], replies[READ_BYTES];

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("floor: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs("; the run is void\n", stderr);
    exit(1);
}

/* All of it, or the run is void. A peer that has gone shows at its next read. */
static void send_all(int socket, const char *bytes, size_t len) {
    ssize_t sent = send(socket, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && (errno == EPIPE || errno == ECONNRESET)) return;
    if (sent != (ssize_t)len) fail("sent %zd of %zu bytes (%s): a client is too slow", sent, len, strerror(errno));
}

static size_t put_frame(char *out, const char *payload, size_t len) {
    size_t header = len < 126 ? 2 : 4;
    if (len > 65535) fail("a message of %zu bytes", len);
    out[0] = (char)0x81;
    out[1] = (char)(len < 126 ? len : 126);
    if (header == 4) out[2] = (char)(len >> 8), out[3] = (char)len;
    if (payload) memcpy(out + header, payload, len);
    return header + len;
}

static long long unix_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* {"type":"trade","data":<payload>,"timestamp":<ms>}, with its header. */
static size_t put_trade(char *out, const char *payload, size_t len, const char *tail, size_t tail_len) {
    static const char head[] = "{\"type\":\"trade\",\"data\":";
    size_t header = put_frame(out, NULL, sizeof head - 1 + len + tail_len) - (sizeof head - 1 + len + tail_len);
    char *at = mempcpy(out + header, head, sizeof head - 1);
    at = mempcpy(at, payload, len);
    at = mempcpy(at, tail, tail_len);
    return at - out;
}

static int symbol_of(const char *name, size_t len) {
    int symbol = 0;
    if (len < 5 || *name != 'S') fail("symbol %.*s is none of ws-load's", (int)len, name);
    for (size_t at = 1; at < len; at++) symbol = symbol * 10 + name[at] - '0';
    if (symbol < 0 || symbol >= SYMBOLS) fail("symbol %.*s", (int)len, name);
    return symbol;
}

static void subscribe(int socket, int symbol) {
    if (connections[socket].count == HELD_MAX) fail("a connection on more than %d symbols", HELD_MAX);
    connections[socket].symbols[connections[socket].count++] = symbol;
    if (subscribers[symbol].count == subscribers[symbol].room) {
        subscribers[symbol].room = subscribers[symbol].room ? 2 * subscribers[symbol].room : 16;
        subscribers[symbol].sockets = realloc(subscribers[symbol].sockets, subscribers[symbol].room * sizeof(int));
        if (!subscribers[symbol].sockets) fail("no memory");
    }
    subscribers[symbol].sockets[subscribers[symbol].count++] = socket;
}

static void end(int socket) {
    for (int held = 0; held < connections[socket].count; held++) {
        int symbol = connections[socket].symbols[held], at = 0;
        while (subscribers[symbol].sockets[at] != socket) at++;
        subscribers[symbol].sockets[at] = subscribers[symbol].sockets[--subscribers[symbol].count];
    }
    memset(&connections[socket], 0, sizeof connections[socket]);
    close(socket);
}

/* A client's bytes: the upgrade request, or subscribes. Unmasks in place. */
static void serve_client(int socket) {
    static char bytes[64 * 1024 + 1];
    ssize_t len = recv(socket, bytes, sizeof bytes - 1, MSG_DONTWAIT);
    if (len < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (len <= 0) return end(socket);
    bytes[len] = 0;
    if (!connections[socket].is_upgraded) {
        static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                                     "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        if (!strstr(bytes, "\r\n\r\n") || !strstr(bytes, "dGhlIHNhbXBsZSBub25jZQ==")) fail("not ws-load's upgrade request");
        connections[socket].is_upgraded = 1;
        return send_all(socket, answer, sizeof answer - 1);
    }
    for (unsigned char *at = (unsigned char *)bytes, *all = at + len; at < all;) {
        size_t size = at[1] & 0x7f, header = size == 126 ? 8 : 6;
        if (all - at < 6 || size == 127) fail("half a frame");
        if (size == 126) size = at[2] << 8 | at[3];
        if ((size_t)(all - at) < header + size) fail("half a frame");
        char *payload = (char *)at + header;
        for (size_t n = 0; n < size; n++) payload[n] ^= (char)at[header - 4 + n % 4];
        int opcode = at[0] & 0x0f;
        at += header + size;
        if (opcode == 8) return end(socket);
        if (opcode != 1) continue;
        static const char action[] = "{\"action\":\"subscribe\",\"symbols\":[";
        if (size < sizeof action || memcmp(payload, action, sizeof action - 1)) fail("not a subscribe: %.*s", (int)size, payload);
        int count = 0;
        for (char *name = payload + sizeof action - 1, *last = payload + size; name < last && *name++ == '"'; count++) {
            char *quote = memchr(name, '"', last - name);
            if (!quote) fail("not a subscribe: %.*s", (int)size, payload);
            subscribe(socket, symbol_of(name, quote - name));
            name = quote + 2; /* behind the comma, or the bracket */
        }
        char text[256], reply[260];
        int text_len = snprintf(text, sizeof text,
            "{\"type\":\"success\",\"message\":\"Successfully subscribed to %d symbol(s)\",\"data\":{},\"timestamp\":%lld}",
            count, unix_ms());
        send_all(socket, reply, put_frame(reply, text, text_len));
    }
}

/* "$12\r\n" or "*3\r\n" at `*at`: the number, and `*at` moved behind it; -1 = not all of it is there. */
static long number(char kind, const char **at, const char *all) {
    const char *end_of_line = memchr(*at, '\n', all - *at);
    if (!end_of_line) return -1;
    if (**at != kind || !isdigit((unsigned char)(*at)[1])) fail("not RESP: %.*s", (int)(end_of_line - *at), *at);
    long value = strtol(*at + 1, NULL, 10);
    *at = end_of_line + 1;
    return value;
}

/* One command at `at`: its fields; returns where the next begins, NULL if it isn't whole. */
static const char *command(const char *at, const char *all, int *count, const char *field[3], size_t len[3]) {
    long fields = number('*', &at, all);
    if (fields > 3) fail("a command of %ld fields", fields);
    for (*count = 0; *count < fields; ++*count) {
        long size = number('$', &at, all);
        if (size < 0 || all - at < size + 2) return NULL;
        field[*count] = at;
        len[*count] = size;
        at += size + 2;
    }
    return fields < 0 ? NULL : at;
}

static void deliver(int symbol, const char *bytes, size_t len) {
    const int *socket = subscribers[symbol].sockets, *last = socket + subscribers[symbol].count;
    for (; socket < last; socket++) send_all(*socket, bytes, len);
}

static void serve_feed(int socket) {
    ssize_t len = recv(socket, feed + feed_len, sizeof feed - feed_len, MSG_DONTWAIT);
    if (len < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (len <= 0) { feed_len = 0; return end(socket); }
    feed_len += len;

    char tail[40], *reply = replies, *out = frames, *run = frames;
    size_t tail_len = snprintf(tail, sizeof tail, ",\"timestamp\":%lld}", unix_ms()), sizes[3];
    const char *at = feed, *all = feed + feed_len, *next, *fields[3];
    int count, run_symbol = -1;
    while (at < all && (next = command(at, all, &count, fields, sizes))) {
        at = next;
        if (count == 1) { /* PING, ws-load's greeting */
            reply = mempcpy(reply, "+PONG\r\n", 7);
            continue;
        }
        const char *name = count == 3 ? memrchr(fields[1], ':', sizes[1]) : NULL;
        if (!name) fail("a command that is no PUBLISH");
        int symbol = symbol_of(name + 1, fields[1] + sizes[1] - name - 1);
        if (is_burst && symbol != run_symbol && out > run) {
            deliver(run_symbol, run, out - run);
            run = out;
        }
        run_symbol = symbol;
        out += put_trade(out, fields[2], sizes[2], tail, tail_len);
        if (!is_burst) {
            deliver(symbol, run, out - run);
            run = out;
        }
        reply = mempcpy(reply, ":1\r\n", 4);
    }
    if (out > run) deliver(run_symbol, run, out - run);
    feed_len = all - at;
    if (feed_len == sizeof feed) fail("a command longer than the buffer");
    memmove(feed, at, feed_len);
    if (reply > replies) send_all(socket, replies, reply - replies);
}

static int listen_at(const char *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(port)), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int socket_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    setsockopt(socket_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(socket_, (struct sockaddr *)&address, sizeof address) || listen(socket_, 4096)) fail("port %s: %s", port, strerror(errno));
    struct epoll_event event = {.events = EPOLLIN, .data.fd = socket_};
    epoll_ctl(epoll, EPOLL_CTL_ADD, socket_, &event);
    return socket_;
}

static void accept_from(int listener, int is_feed) {
    int socket, on = 1;
    while ((socket = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (socket >= CONNECTIONS) fail("too many connections");
        setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        connections[socket].is_feed = (char)is_feed;
        struct epoll_event event = {.events = EPOLLIN, .data.fd = socket};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event)) fail("epoll: %s", strerror(errno));
    }
    if (errno != EAGAIN) fail("accept: %s", strerror(errno));
}

int main(int count, char **arguments) {
    if (count != 4) fail("floor WS_PORT FEED_PORT message|burst");
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    is_burst = !strcmp(arguments[3], "burst");
    epoll = epoll_create1(0);
    int clients = listen_at(arguments[1]), publishers = listen_at(arguments[2]);
    for (;;) {
        struct epoll_event events[256];
        int ready = epoll_wait(epoll, events, 256, -1);
        for (int n = 0; n < ready; n++) {
            int socket = events[n].data.fd;
            if (socket == clients || socket == publishers) accept_from(socket, socket == publishers);
            else if (connections[socket].is_feed) serve_feed(socket);
            else serve_client(socket);
        }
    }
}
