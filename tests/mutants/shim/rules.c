/* Reading ENVOY_MUTANT, and finding the rule for a call. */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct rule rules[RULES];
static int rule_count;
/* Shared with whoever reads the file ENVOY_MUTANT_FIRED: how often each rule had its effect, and then
 * how often each was tried. */
static unsigned long *fired;

static const struct {
	const char *name;
	long nr;
} names[] = {
    {"socket", SYS_socket},         {"bind", SYS_bind},       {"listen", SYS_listen},
    {"setsockopt", SYS_setsockopt}, {"accept4", SYS_accept4}, {"dup", SYS_dup},
    {"dup3", SYS_dup3},             {"fcntl", SYS_fcntl},     {"close", SYS_close},
    {"epoll_ctl", SYS_epoll_ctl},   {"sendmsg", SYS_sendmsg}, {"shutdown", SYS_shutdown},
    {"epoll_create1", SYS_epoll_create1}, {"setns", SYS_setns},
#ifdef SYS_unlink
    {"unlink", SYS_unlink},         {"chmod", SYS_chmod},
#endif
};

void refuse(const char *why, const char *text)
{
	fprintf(stderr, "mutant: %s: %s\n", why, text);
	_exit(125);
}

long number_of(const char *name)
{
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (!strcmp(names[i].name, name))
			return names[i].nr;
	refuse("no such call", name);
}

int is_main(void) { return syscall(SYS_gettid) == getpid(); }
int is_known(long fd) { return fd >= 0 && fd < FDS; }

static int kind_of(const char *name)
{
	static const char *const kinds[] = {"", "listener", "admin", "connection", "any"};
	for (int kind = LISTENER; kind <= ANY; kind++)
		if (!strcmp(kinds[kind], name))
			return kind;
	refuse("no such kind of socket", name);
}

static void read_filter(struct rule *rule, char *text)
{
	char *value = strchr(text, '=');
	if (!value)
		refuse("no filter", text);
	*value++ = 0;
	if (!strcmp(text, "nth")) {
		rule->from = atoi(value);
		rule->only = !strchr(value, '+');
	} else if (!strcmp(text, "by"))
		rule->by = !strcmp(value, "main") ? 1 : 2;
	else if (!strcmp(text, "on"))
		rule->on = kind_of(value);
	else if (!strcmp(text, "port"))
		rule->port = atol(value);
	else if (!strncmp(text, "arg", 3) && text[3] >= '0' && text[3] < '0' + ARGS) {
		rule->asked[text[3] - '0'] = 1;
		rule->arg[text[3] - '0'] = strtol(value, NULL, 0);
	} else
		refuse("no such filter", text);
}

static void open_counters(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	size_t size = 2 * RULES * sizeof *fired;
	void *place = fd < 0 ? MAP_FAILED : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (place == MAP_FAILED)
		refuse(strerror(errno), path);
	syscall(SYS_close, fd);
	fired = place;
}

__attribute__((constructor)) static void read_rules(void)
{
	char *text = getenv("ENVOY_MUTANT"), *path = getenv("ENVOY_MUTANT_FIRED"), *rest, *inner;
	if (path)
		open_counters(path);
	if (!text)
		return;
	for (char *one = strtok_r(strdup(text), ";", &rest); one; one = strtok_r(NULL, ";", &rest)) {
		if (rule_count == RULES)
			refuse("too many rules", one);
		struct rule *rule = &rules[rule_count++];
		*rule = (struct rule){.on = LISTENER, .from = 1, .port = -1};
		int done = 0;
		char *word = strtok_r(one, " ", &inner);
		rule->nr = number_of(word);
		while ((word = strtok_r(NULL, " ", &inner))) {
			if (!strcmp(word, ":"))
				done = 1;
			else if (!done)
				read_filter(rule, word);
			else if (rule->tokens == TOKENS)
				refuse("too many operations", word);
			else
				rule->token[rule->tokens++] = word;
		}
	}
}

static int matches(struct rule *rule, const struct call *call)
{
	if (rule->nr != call->nr || (rule->by && (rule->by == 1) != is_main()))
		return 0;
	if (rule->on != ANY && call->kind != ANY && call->kind != rule->on)
		return 0;
	for (int i = 0; i < ARGS; i++)
		if (rule->asked[i] && rule->arg[i] != call->a[i])
			return 0;
	if (rule->port != -1) {
		long fd = call->fd_at < 0 ? -1 : call->a[call->fd_at];
		if (!is_known(fd) || known.fds[fd].port != rule->port)
			return 0;
	}
	int nth = __atomic_add_fetch(&rule->seen, 1, __ATOMIC_SEQ_CST);
	return rule->only ? nth == rule->from : nth >= rule->from;
}

struct rule *rule_for(struct call *call)
{
	for (int i = 0; i < rule_count; i++)
		if (matches(&rules[i], call)) {
			if (fired)
				__atomic_add_fetch(&fired[RULES + i], 1, __ATOMIC_SEQ_CST);
			return &rules[i];
		}
	return NULL;
}

/* Record that a rule had its effect. */
void count(const struct rule *rule)
{
	if (fired)
		__atomic_add_fetch(&fired[rule - rules], 1, __ATOMIC_SEQ_CST);
}
