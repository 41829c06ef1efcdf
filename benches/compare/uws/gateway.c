/* The strongest peer that we know of: µWebSockets with its native topics, fed by hiredis' reader on the same loop. The
 * library is the one that the PyPI package socketify carries, with its C interface over libuv.
 *
 * It speaks the gateway's protocol as far as ws-load asks for it: subscribe, unsubscribe, trades. It has no limits but that
 * on what waits for a client, and it believes its upstream: trades are not checked.
 *
 *   uws WS_PORT REDIS_PORT */

#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <uv.h>

#include "uws.h"

enum { SSL_OFF = 0, MESSAGE_BYTES = 128 * 1024 };

static uws_app_t *app;
static redisContext *redis;
static char message[MESSAGE_BYTES];

static void fail(const char *what, const char *why) {
    fprintf(stderr, "uws: %s: %s\n", what, why);
    exit(1);
}

static long long unix_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* A trade to all who want it: the library frames it once a publish, and writes once a socket and turn of the loop. */
static void on_trade(const char *channel, size_t channel_len, const char *payload, size_t len, long long now_ms) {
    static const char prefix[] = "channel:trade:", head[] = "{\"type\":\"trade\",\"data\":";
    if (channel_len < sizeof prefix || len + 64 > sizeof message) return;
    const char *symbol = channel + sizeof prefix - 1;
    size_t symbol_len = channel_len - (sizeof prefix - 1);
    memcpy(message, head, sizeof head - 1);
    memcpy(message + sizeof head - 1, payload, len);
    size_t end = sizeof head - 1 + len;
    end += sprintf(message + end, ",\"timestamp\":%lld}", now_ms);
    uws_publish(SSL_OFF, app, symbol, symbol_len, message, end, TEXT, false);
}

static void take_replies(void) {
    void *reply = NULL;
    long long now_ms = unix_ms();
    while (redisReaderGetReply(redis->reader, &reply) == REDIS_OK && reply) {
        redisReply *fields = reply;
        if (fields->type == REDIS_REPLY_ARRAY && fields->elements == 4) /* pmessage, pattern, channel, payload */
            on_trade(fields->element[2]->str, fields->element[2]->len, fields->element[3]->str, fields->element[3]->len, now_ms);
        freeReplyObject(reply);
    }
}

/* Up to 16 pieces a turn of the loop: hiredis moves what it hasn't parsed to the front again and again, so that small pieces
 * are faster than one large one, but a turn costs too. */
static void on_redis(uv_poll_t *poll, int status, int events) {
    (void)poll, (void)status, (void)events;
    char piece[16 * 1024];
    for (int n = 0; n < 16; n++) {
        ssize_t len = recv(redis->fd, piece, sizeof piece, 0);
        if (len < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (len <= 0) fail("Redis has gone", len ? strerror(errno) : "it closed the connection");
        redisReaderFeed(redis->reader, piece, len);
        take_replies();
        if (len < (ssize_t)sizeof piece) return;
    }
}

static void connect_redis(int port, uv_loop_t *loop) {
    static uv_poll_t poll;
    redis = redisConnect("127.0.0.1", port);
    if (!redis || redis->err) fail("Redis", redis ? redis->errstr : "no memory");
    redisReply *reply = redisCommand(redis, "PSUBSCRIBE channel:trade:*");
    if (!reply || reply->type == REDIS_REPLY_ERROR) fail("PSUBSCRIBE", reply ? reply->str : redis->errstr);
    freeReplyObject(reply);
    fcntl(redis->fd, F_SETFL, fcntl(redis->fd, F_GETFL) | O_NONBLOCK);
    redis->reader->maxbuf = 0; /* keep the buffer */
    uv_poll_init(loop, &poll, redis->fd);
    uv_poll_start(&poll, UV_READABLE, on_redis);
}

/* What stands between the quotes that come next, or nothing. */
static bool next_string(const char **at, const char *all, const char **text, size_t *len) {
    const char *begin = memchr(*at, '"', all - *at), *end = begin ? memchr(begin + 1, '"', all - begin - 1) : NULL;
    if (!end) return false;
    *text = begin + 1;
    *len = end - begin - 1;
    *at = end + 1;
    return true;
}

static void list_topic(const char *topic, size_t len, void *end) {
    char **at = end;
    if (*at + len + 4 < message + sizeof message - 64) *at += sprintf(*at, "\"%.*s\",", (int)len, topic);
}

/* {"action":"subscribe","symbols":["AAPL"]}, and the same with unsubscribe. */
static void on_message(uws_websocket_t *client, const char *request, size_t len, uws_opcode_t opcode, void *data) {
    (void)opcode, (void)data;
    const char *at = request, *all = request + len, *text;
    size_t text_len, action_len;
    const char *action = memmem(request, len, "\"action\":", 9), *symbols = memmem(request, len, "\"symbols\":[", 11);
    if (action) at = action + 9;
    if (!symbols || !action || !next_string(&at, all, &action, &action_len)) goto bad;
    bool is_on = action_len == 9 && !memcmp(action, "subscribe", 9);
    if (!is_on && !(action_len == 11 && !memcmp(action, "unsubscribe", 11))) goto bad;
    int count = 0;
    at = symbols + 11;
    all = memchr(at, ']', all - at);
    for (; all && next_string(&at, all, &text, &text_len); count++) {
        if (is_on) uws_ws_subscribe(SSL_OFF, client, text, text_len);
        else uws_ws_unsubscribe(SSL_OFF, client, text, text_len);
    }
    char *end = message + sprintf(message, "{\"type\":\"success\",\"message\":\"Successfully %s %d symbol(s)\",\"data\":{\"currentSubscriptions\":[",
        is_on ? "subscribed to" : "unsubscribed from", count);
    uws_ws_iterate_topics(SSL_OFF, client, list_topic, &end);
    if (end[-1] == ',') end--;
    end += sprintf(end, "]},\"timestamp\":%lld}", unix_ms());
    uws_ws_send(SSL_OFF, client, message, end - message, TEXT);
    return;
bad:
    end = message + sprintf(message, "{\"type\":\"error\",\"message\":\"not understood\",\"code\":\"INVALID_INPUT\",\"timestamp\":%lld}", unix_ms());
    uws_ws_send(SSL_OFF, client, message, end - message, TEXT);
}

/* The wrapper calls these without asking whether they are there. */
static void on_open(uws_websocket_t *client, void *data) { (void)client, (void)data; }
static void on_close(uws_websocket_t *client, int code, const char *text, size_t len, void *data) {
    (void)client, (void)code, (void)text, (void)len, (void)data;
}
static void on_listen(struct us_listen_socket_t *socket, uws_app_listen_config_t config, void *data) {
    (void)config, (void)data;
    if (!socket) fail("WS_PORT", "can't listen there");
}

int main(int count, char **arguments) {
    if (count != 3) fail("usage", "uws WS_PORT REDIS_PORT");
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    uv_loop_t *loop = uv_default_loop();
    uws_get_loop_with_native(loop);
    app = uws_create_app(SSL_OFF, (struct us_socket_context_options_t){0});
    uws_socket_behavior_t behaviour = {
        .compression = DISABLED,
        .maxPayloadLength = 64 * 1024,
        .idleTimeout = 120,
        .maxBackpressure = 4 * 1024 * 1024,
        .sendPingsAutomatically = true,
        .open = on_open,
        .message = on_message,
        .close = on_close,
    };
    uws_ws(SSL_OFF, app, "/*", behaviour, NULL);
    uws_app_listen_with_config(SSL_OFF, app, (uws_app_listen_config_t){.port = atoi(arguments[1]), .host = "127.0.0.1"}, on_listen, NULL);
    connect_redis(atoi(arguments[2]), loop);
    uws_app_run(SSL_OFF, app);
    return 0;
}
