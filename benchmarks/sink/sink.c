/* A stand-in for Kinesis that takes everything and counts it: HTTP/1.1 or HTTPS on loopback.

       sink [--latency-ms N] [--keep DIRECTORY] [--tls CERTIFICATE KEY]

   The port is the first line of stdout. A POST is answered like a PutRecords whose entries were
   all taken; GET /totals answers with what was counted, POST /reset does so too and counts from
   zero. At SIGTERM, or when stdin ends, the totals go to stdout. With --keep the bodies of each
   connection go into a file there: a line with the number of bytes, the body, a line feed. Bodies
   are JSON, or CBOR if their Content-Type says so, and so are the answers. Each connection has a
   thread, so that one may wait while others go on. */

#define _GNU_SOURCE
#include "cbor.h"
#include "request.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_ENTRIES = 500, /* of a request, as the service has it */
    MAX_MESSAGE = 256, /* bytes */
    BACKLOG = 128,
};

#define USAGE "usage: sink [--latency-ms N] [--keep DIRECTORY] [--tls CERTIFICATE KEY]\n"
#define RESET_PATH "/reset"
#define ENTRY_MARK "\"PartitionKey\":"
#define JSON_TYPE "application/x-amz-json-1.1"
#define CBOR_TYPE "application/x-amz-cbor-1.1"
#define SEQUENCE_NUMBER "49590338271490256608559692538361571095921575989136588898"
#define SHARD "shardId-000000000000"
#define ANSWER_START "{\"FailedRecordCount\":0,\"Records\":["
#define ANSWER_ENTRY "{\"SequenceNumber\":\"" SEQUENCE_NUMBER "\",\"ShardId\":\"" SHARD "\"},"
#define ANSWER_END "]}"
/* A map of two: 0, and an array whose length follows in two bytes; in it maps of two texts. */
#define CBOR_START "\xa2\x71" "FailedRecordCount" "\0" "\x67" "Records" "\x99"
#define CBOR_ENTRY "\xa2\x6e" "SequenceNumber" "\x78\x38" SEQUENCE_NUMBER "\x67" "ShardId" "\x74" SHARD

struct totals {
    unsigned long long connections, requests, records, body_bytes, malformed;
};

static struct totals totals;
static pthread_mutex_t totals_lock = PTHREAD_MUTEX_INITIALIZER;
static long latency_ms;
static const char *keep;

/* The base64 of an entry has no quotes, and text in a partition key has a backslash before them. */
static size_t count_entries(const char *body, size_t n)
{
    const char *end = body + n;
    size_t count = 0;

    while ((body = memmem(body, (size_t)(end - body), ENTRY_MARK, sizeof ENTRY_MARK - 1))) {
        body += sizeof ENTRY_MARK - 1;
        ++count;
    }
    return count;
}

/* --- answers --- */

/* Writes the head of an answer of `n` bytes and returns where its body goes. */
static char *begin_answer(struct connection *to, const char *status, const char *type, size_t n)
{
    char date[40];
    time_t now = time(NULL);
    struct tm parts;

    gmtime_r(&now, &parts);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &parts);
    return to->answer
           + sprintf(to->answer,
                     "HTTP/1.1 %s\r\nx-amzn-RequestId: 00000000-0000-0000-0000-000000000000\r\n"
                     "Date: %s\r\nContent-Type: %s\r\n"
                     "Content-Length: %zu\r\n\r\n",
                     status, date, type, n);
}

static bool answer(struct connection *to, const char *status, const char *body)
{
    char *end = stpcpy(begin_answer(to, status, JSON_TYPE, strlen(body)), body);

    return connection_send(to, (size_t)(end - to->answer));
}

static bool answer_entries(struct connection *to, size_t n_entries)
{
    const size_t start_n = strlen(ANSWER_START), entry_n = strlen(ANSWER_ENTRY);
    size_t n = start_n + n_entries * entry_n - 1 + strlen(ANSWER_END);
    char *end = stpcpy(begin_answer(to, "200 OK", JSON_TYPE, n), ANSWER_START);

    for (size_t i = 0; i < n_entries; i++, end += entry_n)
        memcpy(end, ANSWER_ENTRY, entry_n);
    end = stpcpy(end - 1, ANSWER_END); /* in the place of the last comma */
    return connection_send(to, (size_t)(end - to->answer));
}

static bool answer_entries_in_cbor(struct connection *to, size_t n_entries)
{
    const size_t start_n = sizeof CBOR_START - 1, entry_n = sizeof CBOR_ENTRY - 1;
    size_t n = start_n + 2 + n_entries * entry_n;
    char *end = begin_answer(to, "200 OK", CBOR_TYPE, n);

    end = mempcpy(end, CBOR_START, start_n);
    *end++ = (char)(n_entries >> 8);
    *end++ = (char)n_entries;
    for (size_t i = 0; i < n_entries; i++)
        end = mempcpy(end, CBOR_ENTRY, entry_n);
    return connection_send(to, (size_t)(end - to->answer));
}

static bool answer_malformed(struct connection *to, const char *message)
{
    char body[MAX_MESSAGE];

    pthread_mutex_lock(&totals_lock);
    totals.malformed++;
    pthread_mutex_unlock(&totals_lock);
    snprintf(body, sizeof body, "{\"__type\":\"ValidationException\",\"message\":\"%s\"}", message);
    return answer(to, "400 Bad Request", body);
}

/* Writes the totals as JSON, and counts from zero again if that is wanted. */
static void take_totals(char *text, bool reset)
{
    struct totals now;

    pthread_mutex_lock(&totals_lock);
    now = totals;
    if (reset)
        memset(&totals, 0, sizeof totals);
    pthread_mutex_unlock(&totals_lock);
    snprintf(text, MAX_MESSAGE,
             "{\"connections\":%llu,\"requests\":%llu,\"records\":%llu,\"body_bytes\":%llu,"
             "\"malformed\":%llu}",
             now.connections, now.requests, now.records, now.body_bytes, now.malformed);
}

static bool answer_control(struct connection *to, const struct request *request)
{
    char text[MAX_MESSAGE];
    bool is_reset = strcmp(request->path, RESET_PATH) == 0;

    if (is_reset != request->is_post || (!is_reset && strcmp(request->path, "/totals") != 0))
        return answer_malformed(to, "there are GET /totals, POST /reset and PutRecords");
    take_totals(text, is_reset);
    return answer(to, "200 OK", text);
}

static bool put_records(struct connection *connection, const struct request *request)
{
    size_t n_entries = request->is_cbor
                           ? cbor_count_entries(request->body, request->body_bytes)
                           : count_entries(request->body, request->body_bytes);
    struct timespec wait = {latency_ms / 1000, latency_ms % 1000 * 1000000};

    if (n_entries < 1 || n_entries > MAX_ENTRIES)
        return answer_malformed(connection, "a request has 1 to 500 entries");
    if (connection->kept) {
        fprintf(connection->kept, "%zu\n", request->body_bytes);
        fwrite(request->body, 1, request->body_bytes, connection->kept);
        putc('\n', connection->kept);
        if (fflush(connection->kept))
            fail("--keep");
    }
    pthread_mutex_lock(&totals_lock);
    totals.requests++;
    totals.records += n_entries;
    totals.body_bytes += request->body_bytes;
    pthread_mutex_unlock(&totals_lock);
    while (latency_ms && nanosleep(&wait, &wait) && errno == EINTR)
        continue;
    return request->is_cbor ? answer_entries_in_cbor(connection, n_entries)
                            : answer_entries(connection, n_entries);
}

/* --- connections --- */

static void serve(struct connection *connection)
{
    struct request request;
    enum found found;

    while ((found = request_read(connection, &request)) == FOUND_REQUEST) {
        bool is_control = !request.is_post || strcmp(request.path, RESET_PATH) == 0;
        bool answered = is_control ? answer_control(connection, &request)
                                   : put_records(connection, &request);

        if (!answered || request.is_last)
            return;
        connection_drop(connection, request.head_bytes + request.body_bytes);
    }
    if (found == FOUND_MALFORMED)
        answer_malformed(connection, "no request of HTTP/1.1 with a Host and a Content-Length");
}

static void open_kept(struct connection *connection, unsigned long long number)
{
    char path[4096];

    if (keep == NULL)
        return;
    snprintf(path, sizeof path, "%s/connection-%llu", keep, number);
    connection->kept = fopen(path, "wb");
    if (connection->kept == NULL)
        fail(path);
}

static void *run_connection(void *argument)
{
    struct connection *connection = connection_open((int)(intptr_t)argument);
    unsigned long long number;

    if (connection == NULL)
        return NULL;
    pthread_mutex_lock(&totals_lock);
    number = ++totals.connections;
    pthread_mutex_unlock(&totals_lock);
    open_kept(connection, number);
    serve(connection);
    connection_close(connection);
    return NULL;
}

static void *run_listener(void *argument)
{
    for (;;) {
        int fd = accept((int)(intptr_t)argument, NULL, NULL);
        pthread_t thread;

        if (fd < 0)
            fail("accept");
        errno = pthread_create(&thread, NULL, run_connection, (void *)(intptr_t)fd);
        if (errno)
            fail("thread");
        pthread_detach(thread);
    }
    return NULL;
}

static void *run_stdin(void *argument)
{
    while (getchar() != EOF)
        continue;
    kill(getpid(), SIGTERM);
    return argument;
}

/* --- the program --- */

static int listen_on_loopback(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (listener < 0 || bind(listener, (struct sockaddr *)&address, n) || listen(listener, BACKLOG)
        || getsockname(listener, (struct sockaddr *)&address, &n))
        fail("loopback");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

static void parse_arguments(char **arguments)
{
    for (; *arguments; arguments++) {
        if (strcmp(*arguments, "--latency-ms") == 0 && arguments[1])
            latency_ms = strtol(*++arguments, NULL, 10);
        else if (strcmp(*arguments, "--keep") == 0 && arguments[1])
            keep = *++arguments;
        else if (strcmp(*arguments, "--tls") == 0 && arguments[1] && arguments[2]) {
            connection_use_tls(arguments[1], arguments[2]);
            arguments += 2;
        } else {
            fputs(USAGE, stderr);
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    pthread_t threads[2];
    sigset_t ends;
    int caught;
    char text[MAX_MESSAGE];

    (void)argc;
    parse_arguments(argv + 1);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, NULL); /* in all threads: main waits for them */
    if (pthread_create(&threads[0], NULL, run_listener, (void *)(intptr_t)listen_on_loopback())
        || pthread_create(&threads[1], NULL, run_stdin, NULL))
        fail("thread");
    sigwait(&ends, &caught);
    take_totals(text, false);
    puts(text);
    fflush(stdout);
    _exit(0);
}
