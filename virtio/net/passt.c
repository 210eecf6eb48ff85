/* SPDX-License-Identifier: Apache-2.0 */
/*
 * passt(1), started and watched until it is ready:
 *
 *	mote	  watcher	      passt		    passt
 *	fork -->  fork, fork, exec -> binds its ports,
 *		  waits for that      forks, ends --------> serves
 *	  <-----  what became of it
 *	waits, when all else is done
 *
 * passt goes into the background once it can serve, so what the process that
 * was started ends with says whether it does, and standard error why not. The
 * one that serves is in a session and namespaces of its own, has nothing open
 * but its sockets and /dev/null, and is nobody's child: it ends when its stream
 * does (--fd implies --one-off), however mote ended, and mote need neither
 * signal nor reap it. When it ends first, mote sees the end of the stream. It
 * has no file and no name, so many do not meet. One that has not come so far
 * is ended by the watcher.
 *
 * Where root starts it, it binds its ports and becomes nobody, which is its
 * own doing: how to do that where nobody has no number (in a user namespace) it
 * knows best.
 *
 * A port in use is found here first: passt goes on where it has one of IPv4's
 * and IPv6's, and two of them share a port of UDP. What a user may bind is
 * passt's to find out; a file's capability can give it more than mote has.
 *
 * Main thread, before the sandbox closes in; passt_wait: behind the filter for
 * loading.
 */
#include "virtio/net/passt.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cpu/loop/helper.h"
#include "mem/log.h"
#include "mem/util.h"

#define PASST_SOCKET "3" /* HELPER_FIRST */
#define REPORT_BYTES 240

/* -- its arguments --------------------------------------------------------- */

static void add_argument(struct passt_arguments *args, const char *argument)
{
	args->argument[args->count++] = argument;
	args->argument[args->count] = NULL;
}

/* Each port for itself: of a list passt is content with one that it gets. */
static void add_published(struct passt_arguments *args,
			  const struct passt_publish *publish, unsigned count,
			  bool udp)
{
	const char *option = udp ? "-u" : "-t";
	bool any = false;

	for (unsigned i = 0; i < count; i++) {
		const struct passt_publish *p = &publish[i];

		if (p->udp != udp)
			continue;
		snprintf(args->spec[i], sizeof(args->spec[i]), "%s%s%u:%u",
			 p->address, *p->address ? "/" : "", p->port,
			 p->guest_port);
		add_argument(args, option);
		add_argument(args, args->spec[i]);
		any = true;
	}
	if (any)
		return;
	add_argument(args, option);
	add_argument(args, "none");
}

void passt_set_arguments(struct passt_arguments *args,
			 const struct passt_publish *publish, unsigned count)
{
	/* The gateway's MAC address is else the host's own. */
	static const char *const always[] = {
		"passt",
		"--fd",
		PASST_SOCKET,
		"-q",
		"-e",
		"-M",
		"52:55:0a:00:02:02",
		"-a",
		PASST_GUEST4,
		"-n",
		"24",
		"-g",
		PASST_HOST4,
		"-a",
		PASST_GUEST6,
		"-g",
		PASST_HOST6,
	};

	args->count = 0;
	for (size_t i = 0; i < ARRAY_LEN(always); i++)
		add_argument(args, always[i]);
	add_published(args, publish, count, false);
	add_published(args, publish, count, true);
}

/* Where the host has no way out: what there is of it is served. */
static void add_loopback(struct passt_arguments *args)
{
	add_argument(args, "-i");
	add_argument(args, "lo");
}

/* -- in the watcher -------------------------------------------------------- */

struct passt_setup {
	const char *path;
	struct passt_arguments *args;
	int socket;
};

/* What the watcher says. */
struct passt_report {
	bool ready;
	bool alone; /* there is no way out of the host */
	char text[REPORT_BYTES];
};

static void exec_passt(const struct passt_setup *s, int errors)
{
	static char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
	static char *const environment[] = { path, NULL };
	const struct rlimit no_core = { 0, 0 };
	sigset_t none;

	dup2(STDOUT_FILENO, HELPER_CHANNEL);
	dup2(errors, STDERR_FILENO);
	setrlimit(RLIMIT_CORE, &no_core);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve(s->path, (char *const *)s->args->argument, environment);
	dprintf(STDERR_FILENO, "%s", strerror(errno));
	_exit(127);
}

/* The line tells nothing: of the system's log, and that root becomes nobody. */
static bool is_noise(const char *line)
{
	return !*line || !strncmp(line, "Failed to send ", 15) ||
	       !strncmp(line, "Don't run as root", 17);
}

/* Its lines, of which there are few, as one; of printable characters. */
static void set_report_text(struct passt_report *report, char *said)
{
	char *line, *rest = said;
	size_t used = 0;

	*report->text = 0;
	while ((line = strsep(&rest, "\n"))) {
		if (is_noise(line))
			continue;
		used += (size_t)snprintf(report->text + used,
					 sizeof(report->text) - used, "%s%s",
					 used ? "; " : "", line);
		if (used >= sizeof(report->text))
			break;
	}
	for (char *at = report->text; *at; at++)
		if (*at < ' ' || *at > '~')
			*at = '?';
}

static void on_child(int number)
{
	(void)number;
}

/* Its status; or the end of it and of the watcher, where mote ends first. */
static int await_passt(pid_t child)
{
	struct pollfd mote = { .fd = HELPER_CHANNEL };
	int status = -1;
	sigset_t mask;

	/* The signal that it has ended comes only while there is waited. */
	signal(SIGCHLD, on_child);
	sigfillset(&mask);
	sigdelset(&mask, SIGCHLD);
	while (!waitpid(child, &status, WNOHANG))
		if (ppoll(&mote, 1, NULL, &mask) > 0) {
			kill(child, SIGKILL);
			_exit(1);
		}
	return status;
}

/* Once, until it serves or has ended; false: not even that was possible. */
static bool try_passt(const struct passt_setup *s, struct passt_report *report)
{
	char said[4096] = "";
	int ends[2], status = -1;
	pid_t child;

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
		return false;
	child = fork();
	if (!child)
		exec_passt(s, ends[1]);
	close(ends[1]);
	if (child > 0)
		status = await_passt(child);
	if (read(ends[0], said, sizeof(said) - 1) < 0)
		*said = 0;
	close(ends[0]);
	report->ready = status == 0;
	set_report_text(report, said);
	return child > 0;
}

static void run_watcher(const void *arg, int channel)
{
	const struct passt_setup *s = arg;
	struct passt_report report = { .ready = false };

	/* Its standard streams are there: passt does without none of them. */
	if (!helper_take(channel, &s->socket, 1, false) ||
	    open("/dev/null", O_RDWR) != STDOUT_FILENO ||
	    dup(STDOUT_FILENO) != STDERR_FILENO)
		_exit(1);
	/* mote has waited for this one, and need not for the other. */
	if (fork())
		_exit(0);
	if (try_passt(s, &report) && !report.ready &&
	    strstr(report.text, "interface")) {
		add_loopback(s->args);
		report.alone = true;
		try_passt(s, &report);
	}
	helper_send(HELPER_CHANNEL, &report, sizeof(report), -1);
	_exit(0);
}

/* -- in mote --------------------------------------------------------------- */

/* In PATH, where a relative directory is nobody's; then where Debian has it. */
static bool find_passt(char *path, size_t room)
{
	const char *at = getenv("PATH");

	while (at && *at) {
		const size_t len = strcspn(at, ":");

		if (*at == '/' &&
		    snprintf(path, room, "%.*s/passt", (int)len, at) <
			    (int)room &&
		    !access(path, X_OK))
			return true;
		at += len + (at[len] == ':');
	}
	snprintf(path, room, "/usr/bin/passt");
	return !access(path, X_OK);
}

union any_address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static socklen_t fill_address(union any_address *to, int family,
			      const struct passt_publish *p)
{
	memset(to, 0, sizeof(*to));
	to->any.sa_family = (sa_family_t)family;
	if (family == AF_INET) {
		to->v4.sin_port = htons(p->port);
		inet_pton(family, p->address, &to->v4.sin_addr);
		return sizeof(to->v4);
	}
	to->v6.sin6_port = htons(p->port);
	inet_pton(family, p->address, &to->v6.sin6_addr);
	return sizeof(to->v6);
}

/* 0, or errno of why that port cannot be had. */
static int probe_port(const struct passt_publish *p, int family)
{
	const int type = p->udp ? SOCK_DGRAM : SOCK_STREAM, one = 1;
	union any_address address;
	const socklen_t len = fill_address(&address, family, p);
	int fd = socket(family, type | SOCK_CLOEXEC, 0), error = 0;

	if (fd < 0)
		return 0; /* a host without that family has none of its ports */
	/* What is closing is not in the way, and passt does so, too. */
	if (!p->udp)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, &address.any, len) && errno != EACCES)
		error = errno;
	close(fd);
	/* Without an address both families are asked: one may be off. */
	return *p->address || error == EADDRINUSE ? error : 0;
}

static int probe_ports(const struct passt_publish *publish, unsigned count)
{
	int error = 0;

	for (unsigned i = 0; i < count && !error; i++) {
		const struct passt_publish *p = &publish[i];
		const bool v6 = strchr(p->address, ':');

		if (!v6)
			error = probe_port(p, AF_INET);
		if (!error && (v6 || !*p->address))
			error = probe_port(p, AF_INET6);
		if (error)
			log_error("--publish %s: %s%s", p->text,
				  strerror(error),
				  error == EADDRINUSE
					  ? "; another program, or guest, has "
					    "that port of the host"
					  : "");
	}
	return -error;
}

static int start_watcher(const char *name, const struct passt_setup *s,
			 int *channel)
{
	const struct helper watcher = {
		.name = "mote passt",
		.run = run_watcher,
		.arg = s,
	};
	const int child = helper_start(&watcher, channel);

	if (child < 0)
		return child;
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	log_info("%s: %s is started", name, s->path);
	return 0;
}

int passt_start(const char *name, const struct passt_publish *publish,
		unsigned count, int *channel)
{
	char path[4096];
	struct passt_arguments args;
	struct passt_setup setup = { .path = path, .args = &args };
	int ends[2], error;

	if (!find_passt(path, sizeof(path))) {
		log_error("%s: passt(1) is not installed, which is the other "
			  "end of that network: apt install passt",
			  name);
		return -ENOENT;
	}
	error = probe_ports(publish, count);
	if (error)
		return error;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		return log_errno("socketpair");
	passt_set_arguments(&args, publish, count);
	setup.socket = ends[1];
	error = start_watcher(name, &setup, channel);
	close(ends[1]);
	if (!error && fcntl(ends[0], F_SETFL, O_RDWR | O_NONBLOCK) < 0)
		error = log_errno("fcntl");
	if (error)
		close(ends[0]);
	return error ? error : ends[0];
}

static const char *passt_advice(const char *text)
{
	static const struct {
		const char *word, *mend;
	} advice[] = {
		{ "bind", "; a port below 1024 takes root, or sysctl "
			  "net.ipv4.ip_unprivileged_port_start" },
		{ "namespace", "; it locks itself in by user namespaces, which "
			       "this host, or container, has to allow" },
		{ "sandbox", "; it locks itself in by namespaces and mounts, "
			     "which this host, or container, has to allow" },
	};

	for (size_t i = 0; i < ARRAY_LEN(advice); i++)
		if (strstr(text, advice[i].word))
			return advice[i].mend;
	return "";
}

int passt_wait(const char *name, int channel)
{
	struct passt_report report;
	ssize_t len;

	do
		len = read(channel, &report, sizeof(report));
	while (len < 0 && errno == EINTR);
	close(channel);
	if (len != sizeof(report))
		report = (struct passt_report){ .ready = false };
	report.text[REPORT_BYTES - 1] = 0;
	if (!report.ready) {
		log_error("%s: passt could not be started: %s%s", name,
			  *report.text ? report.text : "it does not say why",
			  passt_advice(report.text));
		return -EIO;
	}
	if (report.alone)
		log_warn("%s: this host has no default route: the guest "
			 "reaches the host itself, and nothing beyond it",
			 name);
	return 0;
}
