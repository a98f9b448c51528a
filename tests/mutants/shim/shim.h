/* An Envoy that misbehaves: preloaded, this stands between Envoy and the kernel.
 *
 * calls.c wraps calls of libc, rules.c decides whether a call is one that ENVOY_MUTANT names,
 * operations.c and hidden.c do what the rule says in place of the call. mutant.py describes the
 * rules.
 *
 * Calls are made by syscall(2), so that operations work on numbers alone.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/socket.h>
#include <sys/syscall.h>

enum kind { NONE, LISTENER, ADMIN, CONNECTION, ANY };
enum limits { FDS = 4096, RULES = 8, TOKENS = 32, HELD = 64, SERVERS = 64, ARGS = 6 };

struct call {
	long nr, a[ARGS], ret;
	int fd_at; /* which argument is the descriptor that it is about; negative: none */
	int kind;  /* of that descriptor; of what is made by socket() */
	int value;                    /* what a replaced option holds */
	struct sockaddr_storage name; /* what a replaced address is */
	struct msghdr message;        /* what a replaced message is */
	_Alignas(struct cmsghdr) char control[256];
};

struct rule {
	long nr;
	int on, by, from, only; /* nth=2: from 2, only that; nth=2+: from 2 on */
	long port, arg[ARGS];
	unsigned char asked[ARGS]; /* which arguments must be as in arg */
	int seen;
	int tokens;
	char *token[TOKENS];
};

/* What is known of descriptors and epolls: written by calls.c. */
struct known {
	struct {
		unsigned char kind;
		unsigned short port;
	} fds[FDS];
	int made[SERVERS], made_count;           /* sockets for listeners, in their order */
	int listening[SERVERS], listening_count; /* descriptors that were listened on */
	int epolls[SERVERS], epoll_count;        /* of the workers, as they registered listeners */
	int main_epoll;
};

extern struct known known;
extern pthread_mutex_t lock;

void refuse(const char *why, const char *text) __attribute__((noreturn));
long number_of(const char *name);
int is_main(void);
int is_known(long fd);
struct rule *rule_for(struct call *call);
void count(const struct rule *rule);
void make(struct call *call);
int carry_out(struct rule *rule, struct call *call);
void make_in_child(struct call *call, int vforked);
void start_server(long fd, int by_epoll);
int change_file(const char *how, const struct sockaddr *name);
int give_peer(long fd);
int send_away(long fd, int in_bulk);
void listen_by_32_bit(struct call *call);
int set_filter(int answers);
