/* SPDX-License-Identifier: BSD-3-Clause */
/* The messages between a pool daemon and its keeper. */
#ifndef KEEPER_KEEPER_WIRE_H
#define KEEPER_KEEPER_WIRE_H

/*
 * UNIX SOCK_SEQPACKET at RUNTIME_DIR/keeper.sock, mode 0600; a peer of another uid than the
 * keeper's (root excepted) is closed unheard. Little-endian, no padding, one message per packet,
 * nothing may follow its last field. Descriptors go by SCM_RIGHTS, in the order of the items.
 *
 *   client              keeper
 *   HELLO               WELCOME, or STATUS and the end
 *   STORE n items+fds   STATUS        all n are held, or none is
 *   DROP  n keys        STATUS        count = how many of them were held
 *   LIST                ITEMS ..., STATUS         without descriptors
 *   FETCH               ITEMS+fds ..., STATUS
 *   BYE                 STATUS        and the keeper ends, with all it held
 *
 * Requests are pipelined and answered in order; each answer carries the request's id. What is held
 * has a key, its incarnation, a length in bytes (which must be the file's) and a label that only
 * the client understands. Only regular files (memfd, hugetlb) are held: no sockets, so that what
 * is held cannot refer to the keeper. STORE of a key that is held already succeeds if it is the
 * same file and changes nothing; DROP of one that is not held is no error. So a client may send
 * again what it has no answer for.
 *
 * One client owns the keeper. The next one to say HELLO as owner supersedes it: the former gets an
 * unasked STATUS (id 0, SUPERSEDED) and is closed. Observers (doctor) may only LIST, and what they
 * see may change while they read it.
 *
 * A keeper outlives the programs that talk to it, so every later version has to speak this one:
 * HELLO says the newest version a client speaks, WELCOME the one both will use.
 */

#include "cxl/endian.h"

#define KEEPER_MAGIC     UINT32_C(0x4b434453) /* "SDCK" */
#define KEEPER_VERSION   1
#define KEEPER_LABEL_LEN 48
#define KEEPER_MAX_FDS   253 /* items in one message: what the kernel passes at once */
#define KEEPER_MAX_KEYS  1024
#define KEEPER_MAX_LEN   (sizeof(KeeperHeader) + KEEPER_MAX_FDS * sizeof(KeeperWireItem))

typedef enum KeeperType {
	KEEPER_HELLO = 1,
	KEEPER_STORE,
	KEEPER_DROP,
	KEEPER_LIST,
	KEEPER_FETCH,
	KEEPER_BYE,

	KEEPER_WELCOME = 0x81,
	KEEPER_STATUS,
	KEEPER_ITEMS,
} KeeperType;

typedef enum KeeperRole {
	KEEPER_OWNER = 1,
	KEEPER_OBSERVER,
} KeeperRole;

typedef enum KeeperRc {
	KEEPER_OK,
	KEEPER_MALFORMED,    /* and the connection is closed, as after the next two */
	KEEPER_REFUSED,      /* no hello before, or one that only the owner may send */
	KEEPER_SUPERSEDED,   /* another client owns the keeper now */
	KEEPER_FULL,         /* it holds as many as its limit of open files allows */
	KEEPER_EXISTS,       /* another file is held under this key */
	KEEPER_BAD_FILE,     /* not a regular file */
	KEEPER_BAD_FILE_LEN, /* its length is not what the item says */
	KEEPER_NO_MEMORY,
	KEEPER_N_RC,
} KeeperRc;

typedef struct KeeperHeader {
	le16 type;
	le16 n; /* items or keys that follow */
	le32 id;
} KeeperHeader;
CXL_STATIC_ASSERT(sizeof(KeeperHeader) == 8);
CXL_STATIC_ASSERT(offsetof(KeeperHeader, id) == 4);

typedef struct KeeperHello {
	KeeperHeader header;
	le32 magic;
	le16 version;
	le16 role;
} KeeperHello;
CXL_STATIC_ASSERT(sizeof(KeeperHello) == 16);
CXL_STATIC_ASSERT(offsetof(KeeperHello, version) == 12);

typedef struct KeeperWelcome {
	KeeperHeader header;
	le32 magic;
	le16 version;
	le16 reserved;
	le64 instance; /* random: another one means another keeper, which holds nothing of yours */
	le32 n_held;
	le32 n_max;
} KeeperWelcome;
CXL_STATIC_ASSERT(sizeof(KeeperWelcome) == 32);
CXL_STATIC_ASSERT(offsetof(KeeperWelcome, instance) == 16);
CXL_STATIC_ASSERT(offsetof(KeeperWelcome, n_max) == 28);

typedef struct KeeperStatus {
	KeeperHeader header;
	le32 rc;
	le32 count; /* items stored, dropped or sent; refused: index of the item that was at fault
		     */
	le32 n_held;
	le32 n_max;
} KeeperStatus;
CXL_STATIC_ASSERT(sizeof(KeeperStatus) == 24);
CXL_STATIC_ASSERT(offsetof(KeeperStatus, n_held) == 16);

typedef struct KeeperWireItem {
	le64 incarnation;
	le64 len;
	uint8_t label[KEEPER_LABEL_LEN];
} KeeperWireItem;
CXL_STATIC_ASSERT(sizeof(KeeperWireItem) == 64);
CXL_STATIC_ASSERT(offsetof(KeeperWireItem, label) == 16);

/* DROP: this many follow the header. */
typedef struct KeeperKey {
	le64 incarnation;
} KeeperKey;
CXL_STATIC_ASSERT(sizeof(KeeperKey) == 8);
CXL_STATIC_ASSERT(sizeof(KeeperHeader) + KEEPER_MAX_KEYS * sizeof(KeeperKey) <= KEEPER_MAX_LEN);

#endif
