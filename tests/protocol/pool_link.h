/* SPDX-License-Identifier: BSD-3-Clause */
/* A scripted host end of a memory link: the test decides when and what it answers. */
#ifndef TESTS_POOL_LINK_H
#define TESTS_POOL_LINK_H

#include "link/mem_link_wire.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* A map as a host that obeys would hold it. */
typedef struct LinkMap {
	uint64_t id, dpa, len, offset, incarnation;
	int fd;
	bool writable, exposed;
	uint64_t revoked_len;
} LinkMap;

typedef struct LinkMessage {
	MemLinkType type;
	unsigned count;
	uint64_t id;
	int fds[MEM_LINK_MAX_PREPARE];
	unsigned n_fds;
	size_t len;
	union {
		MemLinkHeader header;
		uint8_t bytes[MEM_LINK_MAX_MESSAGE];
	};
} LinkMessage;

typedef struct LinkPeer {
	int fd;
	uint8_t session;     /* first byte of the session's name, the others are 0 */
	GArray *maps;        /* LinkMap */
	unsigned n_seen[32]; /* messages taken, by type */
	MemLinkDecoderEntry decoders[MEM_LINK_MAX_DECODERS];
	/* link_peer_run() */
	GThread *thread;
	unsigned delay_ms;
	int stop;
} LinkPeer;

LinkPeer *link_peer_new(int fd);
/* Closes the socket and every descriptor it was given. */
void link_peer_free(LinkPeer *peer);
/* hello, held; expects the welcome and takes what is said of the decoders. */
void link_peer_hello(LinkPeer *peer, const MemLinkHeld *held, uint32_t n_held);
MemLinkWelcomeStatus link_peer_try_hello(LinkPeer *peer, const MemLinkHeld *held, uint32_t n_held);

/* The next message, within WAIT_MS; NULL if none comes or the end is there. The caller frees it. */
LinkMessage *link_take(LinkPeer *peer, int wait_ms);
void link_message_free(LinkMessage *message); /* closes what link_apply() did not keep */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LinkMessage, link_message_free)
/* Must come, must be of this type. */
LinkMessage *link_expect(LinkPeer *peer, MemLinkType type);
/* Nothing is there now. */
void link_expect_silence(LinkPeer *peer);
bool link_is_closed(LinkPeer *peer);
/* What the message asks, done to the list of maps; asserts that it makes sense. */
void link_apply(LinkPeer *peer, LinkMessage *message);
void link_answer(LinkPeer *peer, const LinkMessage *message, MemLinkStatus status);
/* Takes one of this type, applies it, says OK. */
void link_oblige(LinkPeer *peer, MemLinkType type);
/* All that is there now; returns how many. */
unsigned link_serve(LinkPeer *peer);

/* From now on a thread of its own obliges, each answer DELAY_MS after its request. */
void link_peer_run(LinkPeer *peer, unsigned delay_ms);
void link_peer_stop(LinkPeer *peer);

LinkMap *link_map_at(LinkPeer *peer, uint64_t dpa); /* NULL = none */
unsigned link_n_exposed(const LinkPeer *peer);
/* Maps the whole map of memory that the peer was given, PROT as wanted; MAP_FAILED if refused. */
void *link_map_memory(const LinkMap *map, int prot);

#endif
