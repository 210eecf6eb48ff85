/*
 * Where the host's end of vsock is found: the listening socket, and the
 * directory in which the host's own listeners appear.
 *
 * Either mote makes the socket at a path, and removes it at the end, or the
 * caller has made it. Once the sandbox has closed in, that directory is all
 * that can be reached, as the working directory; listeners may come and go in
 * it as before.
 *
 * Trusts the command line, but not that a descriptor is what it should be.
 * Main thread, before the guest runs and after.
 */
#include "virtio/vsock/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mem/log.h"
#include "virtio/vsock/vsock.h"

#define PORT_CHARS 11 /* "_4294967295" */

/*
 * A socket of the caller's has a path, or not; and its directory may be out of
 * reach: then the guest's own connections are refused.
 */
static void find_listeners(struct vsock *vsock, int fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(address);
	char dir[UNIXSOCK_PATH_MAX + 1];
	void *any = &address;

	if (!getsockname(fd, any, &len) && len <= sizeof(address))
		memcpy(vsock->bound, address.sun_path,
		       sizeof(address.sun_path));
	if (vsock->bound[0] &&
	    strlen(vsock->bound) + PORT_CHARS < UNIXSOCK_PATH_MAX) {
		unixsock_directory(vsock->bound, dir);
		vsock->file.dir_fd =
			open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	if (vsock->file.dir_fd >= 0)
		vsock->file.path = vsock->prefix = vsock->bound;
	else
		log_info("--vsock fd=%d: its directory cannot be reached, so "
			 "the guest's own connections are refused",
			 fd);
}

static int listen_at(struct vsock *vsock, const char *path)
{
	if (strlen(path) + PORT_CHARS >= UNIXSOCK_PATH_MAX) {
		log_error("--vsock %s: the path is too long; %zu bytes at most",
			  path, UNIXSOCK_PATH_MAX - PORT_CHARS - 1);
		return -ENAMETOOLONG;
	}
	vsock->prefix = path;
	vsock->listener.fd = unixsock_listen(&vsock->file, "--vsock ", path,
					     (int)VSOCK_CONNECTIONS_MAX);
	return vsock->listener.fd < 0 ? vsock->listener.fd : 0;
}

int vsock_host_listen(struct vsock *vsock)
{
	const struct option_file *file = &vsock->options.file;
	int error;

	if (!vsock_is_shared(&vsock->options))
		return 0;
	if (file->path)
		return listen_at(vsock, file->path);
	error = unixsock_take("--vsock ", file->fd);
	if (error)
		return error;
	vsock->listener.fd = file->fd;
	find_listeners(vsock, file->fd);
	return 0;
}

bool vsock_dials(const struct vsock *vsock)
{
	return vsock->prefix;
}

void vsock_enter(struct vsock *vsock, const char *barred)
{
	if (!vsock->prefix)
		return;
	if (!barred && vsock->file.dir_fd < 0)
		barred = "its directory cannot be cut out here (Linux 5.2)";
	if (barred) {
		log_warn("--vsock %s: %s, so the guest's own connections are "
			 "refused",
			 vsock->prefix, barred);
		vsock->prefix = NULL;
		return;
	}
	if (fchdir(vsock->file.dir_fd)) {
		/* Root became somebody whom the directory does not let in. */
		log_warn("--vsock %s: mote's user may not enter its directory, "
			 "so the guest's own connections are refused: chmod "
			 "a+x, or choose another --user",
			 vsock->prefix);
		vsock->prefix = NULL;
		return;
	}
	vsock->prefix = unixsock_name(vsock->prefix);
}

void vsock_host_unlisten(struct vsock *vsock)
{
	unixsock_remove(&vsock->file);
	if (vsock->listener.fd >= 0)
		close(vsock->listener.fd);
	vsock->listener.fd = -1;
}
