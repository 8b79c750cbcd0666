/* SPDX-License-Identifier: BSD-3-Clause */
/* The daemon's side of its keeper: blocking calls, for a thread that may wait. */
#ifndef KEEPER_KEEPER_CLIENT_H
#define KEEPER_KEEPER_CLIENT_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * All calls from one thread. Each waits at most the timeout for the keeper to get on, then fails;
 * what failed may be called again.
 *
 * A keeper that has died is replaced within the next call: a new one is started, gets everything
 * stored and not dropped so far, and then the call is carried out. For this a client keeps a
 * reference to what it has stored; nothing is sent a second time otherwise.
 *
 * A client that was superseded by another one (a second daemon of the same pool) fails for good.
 */
typedef struct KeeperClient KeeperClient;

#define KEEPER_CLIENT_ERROR (keeper_client_error_quark())
GQuark keeper_client_error_quark(void);
typedef enum KeeperClientError {
	KEEPER_CLIENT_ERROR_FAILED, /* no keeper can be reached or started, or it answers badly */
	KEEPER_CLIENT_ERROR_TIMED_OUT,  /* it does not answer */
	KEEPER_CLIENT_ERROR_FULL,       /* its limit of open files */
	KEEPER_CLIENT_ERROR_EXISTS,     /* another file is held under this incarnation */
	KEEPER_CLIENT_ERROR_INVALID,    /* not a regular file, or of another length */
	KEEPER_CLIENT_ERROR_SUPERSEDED, /* another daemon owns the keeper now */
} KeeperClientError;

#define KEEPER_CLIENT_LABEL_SIZE 49 /* with the terminating zero */

typedef struct KeeperItem {
	uint64_t incarnation; /* the key */
	uint64_t len;         /* bytes; must be the file's */
	char label[KEEPER_CLIENT_LABEL_SIZE];
	int fd; /* memfd or hugetlb */

	/* keeper_store, keeper_remember: holds FD open; the client drops it with owner_unref (may
	 * be NULL: then FD must stay open until dropped, or the client is freed). Else unused. */
	void *owner;
	GDestroyNotify owner_unref;
} KeeperItem;

/*
 * PROGRAM is started when nobody serves SOCKET_PATH; NULL = never (then there must be a keeper).
 * TIMEOUT_MS: for each answer; 0 = 5000. Nothing is connected yet.
 */
KeeperClient *keeper_client_new(const char *socket_path, const char *program, unsigned timeout_ms);
void keeper_client_free(KeeperClient *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(KeeperClient, keeper_client_free)

/* Reaches the keeper, or starts one. Optional: every other call does it when needed. */
bool keeper_client_connect(KeeperClient *client, GError **error);
/* A copy of the connected socket, the caller's, close-on-exec: it hangs up (POLLHUP) when the
 * keeper goes, and then keeper_client_connect() wants to be called. For nothing else; -1 = not
 * connected. */
int keeper_client_dup_socket(const KeeperClient *client);
/* A number that changes with the keeper process; 0 before the first connection. */
uint64_t keeper_client_instance(const KeeperClient *client);

/*
 * Returns once the keeper holds all of them. On failure none of ITEMS' owners is taken, and the
 * keeper holds any number of them. N may be large: it is pipelined. A file that is held already is
 * stored again without harm.
 */
bool keeper_store(KeeperClient *client, const KeeperItem *items, size_t n, GError **error);
/* What is not held is no error. */
bool keeper_drop(KeeperClient *client, const uint64_t *incarnations, size_t n, GError **error);

/*
 * Everything held, as an array of KeeperItem; caller owns it, descriptors included: unref closes
 * those whose fd has not been set to -1. The open file table must have room (nofile_raise()).
 */
GArray *keeper_fetch_all(KeeperClient *client, GError **error);
/* The same without descriptors (fd is -1). */
GArray *keeper_list(KeeperClient *client, GError **error);
/* After a restart: takes what keeper_fetch_all() returned and the caller has adopted as stored, so
 * that it is stored again should the keeper be replaced. Sends nothing; takes ITEM's owner. */
void keeper_remember(KeeperClient *client, const KeeperItem *item);

/* Ends the keeper, with all it holds. */
bool keeper_bye(KeeperClient *client, GError **error);

/* For who only wants to look (doctor): connects as observer, supersedes nobody, starts nothing. */
GArray *keeper_peek(const char *socket_path, unsigned timeout_ms, GError **error);

/*
 * Starts PROGRAM for SOCKET_PATH in a session of its own, without any of our descriptors, and
 * returns once it serves; the caller has no child to wait for. Safe with other threads running.
 */
bool keeper_spawn(const char *program, const char *socket_path, unsigned timeout_ms,
		  GError **error);
/* $SOFTDCD_KEEPER, next to our own binary, or where it is installed. Caller frees. */
char *keeper_find_program(GError **error);

#endif
