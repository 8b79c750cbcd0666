/* SPDX-License-Identifier: BSD-3-Clause */
/* The vfio-user client over a second connection: addresses, replay, refusals. */
#include "vfu-fixture.h"

#include "cxl/pci.h"
#include "link/vfu_client.h"

#define TIMEOUT_MS 5000

#define MSIX 0x40
#define PCIE 0x50
#define AER  0x100
#define DOE  0x150

/* ---- servers, each in a thread ---- */

typedef struct Served {
	Fake *fake;
	GMainLoop *loop;
	GThread *thread;
	int peer; /* the client's end */
} Served;

static gpointer serve(gpointer opaque)
{
	g_main_loop_run(((Served *)opaque)->loop);
	return NULL;
}

static void put_extcap(uint8_t *config, uint32_t at, uint16_t id, uint32_t next)
{
	uint32_t header = PCI_EXTCAP_HEADER(id, 1, next);

	memcpy(config + at, &header, sizeof(header));
}

/* A configuration space with the capabilities that matter, and zeros. */
static void make_config(uint8_t *config)
{
	memset(config, 0, CONFIG_LEN);
	config[PCI_CFG_CAP_PTR] = MSIX;
	config[MSIX] = PCI_CAP_MSIX;
	config[MSIX + 1] = PCIE;
	config[PCIE] = PCI_CAP_PCIE;
	put_extcap(config, AER, PCI_EXTCAP_AER, DOE);
	put_extcap(config, DOE, PCI_EXTCAP_DOE, 0);
}

static void served_init_with(Served *served, const VfuServerOps *ops)
{
	served->fake = fake_new();
	if (ops) {
		vfu_server_free(served->fake->server);
		served->fake->server = vfu_server_new(served->fake->context, ops, served->fake);
	}
	make_config(served->fake->config);
	served->peer = fake_attach(served->fake);
	served->loop = g_main_loop_new(served->fake->context, FALSE);
	served->thread = g_thread_new("server", serve, served);
}

static void served_init(Served *served)
{
	served_init_with(served, NULL);
}

static gboolean quit(gpointer opaque)
{
	g_main_loop_quit(((Served *)opaque)->loop);
	return G_SOURCE_REMOVE;
}

/* From inside the loop, as one that does not run yet cannot be told to quit. */
static void served_clear(Served *served)
{
	GSource *source = g_idle_source_new();

	g_source_set_callback(source, quit, served, NULL);
	g_source_attach(source, served->fake->context);
	g_source_unref(source);
	g_thread_join(served->thread);
	g_main_loop_unref(served->loop);
	fake_pump(served->fake);
	fake_free(served->fake);
}

static VfuClient *served_client(Served *served)
{
	g_autoptr(GError) error = NULL;
	VfuClient *client = vfu_client_new(served->peer, TIMEOUT_MS, &error);

	g_assert_no_error(error);
	return client;
}

static void reconnect(VfuClient *client, Served *served)
{
	g_autoptr(GError) error = NULL;

	g_assert_true(vfu_client_reconnect(client, served->peer, &error));
	g_assert_no_error(error);
}

static void write_config(VfuClient *client, uint32_t offset, uint32_t value, uint32_t len, int rc)
{
	g_assert_cmpint(vfu_client_write(client, VFU_REGION_CONFIG, offset, &value, len, false), ==,
			rc);
}

static uint32_t config_of(const Served *served, uint32_t offset, unsigned len)
{
	uint32_t value = 0;

	memcpy(&value, served->fake->config + offset, len);
	return value;
}

/* ---- cases ---- */

static void test_addresses(void)
{
	Served first, second;
	VfuClient *client;
	uint8_t *payload;
	uint8_t byte = 0x5a;

	served_init(&first);
	served_init(&second);
	client = served_client(&first);
	payload = vfu_client_peek_mapped(client, 0, PAYLOAD_OFFSET, PAYLOAD_LEN);
	g_assert_nonnull(payload);
	payload[7] = 0xa1;
	served_clear(&first);
	g_assert_false(vfu_client_is_connected(client));

	/* Until then the old memory is there, and nobody's. */
	g_assert_cmphex(payload[7], ==, 0xa1);
	g_assert_cmpint(
		pwrite(second.fake->payload_fd, &byte, 1, PAYLOAD_FILE + PAYLOAD_OFFSET + 7), ==,
		1);
	reconnect(client, &second);
	g_assert_true(vfu_client_is_connected(client));
	g_assert_true(vfu_client_peek_mapped(client, 0, PAYLOAD_OFFSET, PAYLOAD_LEN) == payload);
	g_assert_cmphex(payload[7], ==, 0x5a);
	payload[8] = 0xc3;
	g_assert_cmpint(pread(second.fake->payload_fd, &byte, 1, PAYLOAD_FILE + PAYLOAD_OFFSET + 8),
			==, 1);
	g_assert_cmphex(byte, ==, 0xc3);

	/* And messages work. */
	g_assert_cmpint(vfu_client_read(client, 0, 0x11, &byte, 1), ==, 0);
	g_assert_cmphex(byte, ==, second.fake->bar0[0x11]);
	vfu_client_free(client);
	served_clear(&second);
}

static void test_replay(void)
{
	Served first, second;
	VfuClient *client;

	served_init(&first);
	served_init(&second);
	client = served_client(&first);
	write_config(client, PCI_CFG_COMMAND, PCI_CMD_MEM | PCI_CMD_MASTER, 2, 0);
	write_config(client, PCI_CFG_BAR(0), 0xfe000000, 4, 0);
	write_config(client, PCI_CFG_BAR(1), 0x12, 4, 0);
	write_config(client, MSIX + PCI_MSIX_CTRL, PCI_MSIX_CTRL_ENABLE, 2, 0);
	write_config(client, PCIE + PCI_PCIE_DEVCTL, PCI_PCIE_DEVCTL_FLR | PCI_PCIE_DEVCTL_CERE, 2,
		     0);
	write_config(client, AER + PCI_AER_UE_MASK, 0x1234, 4, 0);
	write_config(client, AER + PCI_AER_UE_STATUS, 0xffff, 4, 0);
	write_config(client, DOE + PCI_DOE_REG_CTRL, PCI_DOE_CONTROL_GO, 4, 0);
	/* Only one byte of a register: the others stay what the device says. */
	write_config(client, AER + PCI_AER_CE_MASK + 1, 0x77, 1, 0);
	second.fake->config[AER + PCI_AER_CE_MASK] = 0x11;

	served_clear(&first);
	reconnect(client, &second);
	g_assert_cmphex(config_of(&second, PCI_CFG_COMMAND, 2), ==, 0);
	g_assert_cmpint(vfu_client_replay(client), ==, 0);
	g_assert_cmphex(config_of(&second, PCI_CFG_COMMAND, 2), ==, PCI_CMD_MEM | PCI_CMD_MASTER);
	g_assert_cmphex(config_of(&second, PCI_CFG_BAR(0), 4), ==, 0xfe000000);
	g_assert_cmphex(config_of(&second, PCI_CFG_BAR(1), 4), ==, 0x12);
	g_assert_cmphex(config_of(&second, MSIX + PCI_MSIX_CTRL, 2), ==, PCI_MSIX_CTRL_ENABLE);
	g_assert_cmphex(config_of(&second, PCIE + PCI_PCIE_DEVCTL, 2), ==, PCI_PCIE_DEVCTL_CERE);
	g_assert_cmphex(config_of(&second, AER + PCI_AER_UE_MASK, 4), ==, 0x1234);
	g_assert_cmphex(config_of(&second, AER + PCI_AER_CE_MASK, 4), ==, 0x7711);
	/* What starts something, or only reports. */
	g_assert_cmphex(config_of(&second, AER + PCI_AER_UE_STATUS, 4), ==, 0);
	g_assert_cmphex(config_of(&second, DOE + PCI_DOE_REG_CTRL, 4), ==, 0);
	vfu_client_free(client);
	served_clear(&second);
}

/* Kept ranges of BARs, writes while nobody is there, and what a reset undoes. */
static void test_replay_kept(void)
{
	Served first, second, third;
	VfuClient *client;

	served_init(&first);
	served_init(&second);
	served_init(&third);
	client = served_client(&first);
	vfu_client_keep(client, 0, 0x20, 0x10);
	g_assert_cmpint(vfu_client_write(client, 0, 0x1e, "\1\2\3\4", 4, false), ==, 0);
	g_assert_cmpint(vfu_client_write(client, 0, 0x2f, "\5\6", 2, true), ==, 0);
	g_assert_cmpint(vfu_client_write(client, 0, 0x40, "\7", 1, true), ==, 0);
	served_clear(&first);
	g_assert_cmpint(vfu_client_write(client, 0, 0x28, "\x28", 1, true), ==, -EIO);
	write_config(client, PCI_CFG_COMMAND, PCI_CMD_MEM, 2, -EIO);

	memset(second.fake->bar0, 0, BAR0_LEN);
	reconnect(client, &second);
	g_assert_cmpint(vfu_client_replay(client), ==, 0);
	g_assert_cmpmem(second.fake->bar0 + 0x1e, 4, "\0\0\3\4", 4);
	g_assert_cmpmem(second.fake->bar0 + 0x2f, 2, "\5\0", 2);
	g_assert_cmphex(second.fake->bar0[0x28], ==, 0x28);
	g_assert_cmphex(second.fake->bar0[0x40], ==, 0);
	g_assert_cmphex(config_of(&second, PCI_CFG_COMMAND, 2), ==, PCI_CMD_MEM);

	g_assert_cmpint(vfu_client_reset(client), ==, 0);
	served_clear(&second);
	memset(third.fake->bar0, 0, BAR0_LEN);
	reconnect(client, &third);
	g_assert_cmpint(vfu_client_replay(client), ==, 0);
	g_assert_cmphex(third.fake->bar0[0x20], ==, 0);
	g_assert_cmphex(config_of(&third, PCI_CFG_COMMAND, 2), ==, 0);
	vfu_client_free(client);
	served_clear(&third);
}

static gboolean fire_all(gpointer opaque)
{
	Fake *fake = opaque;

	for (unsigned i = 0; i < N_VECTORS; i++)
		vfu_server_irq(fake->server, VFU_IRQ_MSIX, i);
	return G_SOURCE_REMOVE;
}

static bool has_fired(int fd, int timeout_ms)
{
	struct pollfd state = { .fd = fd, .events = POLLIN };

	return poll(&state, 1, timeout_ms) == 1;
}

static void test_replay_irqs(void)
{
	Served first, second;
	VfuClient *client;
	int fds[4];

	for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++)
		fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	served_init(&first);
	served_init(&second);
	client = served_client(&first);
	g_assert_cmpint(vfu_client_set_irqs(client, VFU_IRQ_MSIX, 2, fds, 3), ==, 0);
	/* Vector 3 goes again, 4 gets another descriptor. */
	g_assert_cmpint(vfu_client_set_irqs(client, VFU_IRQ_MSIX, 3, (int[]){ -1, fds[3] }, 2), ==,
			0);
	served_clear(&first);

	reconnect(client, &second);
	g_assert_cmpint(vfu_client_replay(client), ==, 0);
	g_main_context_invoke(second.fake->context, fire_all, second.fake);
	g_assert_true(has_fired(fds[0], TIMEOUT_MS));
	g_assert_true(has_fired(fds[3], TIMEOUT_MS));
	g_assert_false(has_fired(fds[1], 0));
	g_assert_false(has_fired(fds[2], 0));
	vfu_client_free(client);
	served_clear(&second);
	for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++)
		close(fds[i]);
}

static uint32_t other_n_irqs(void *opaque, unsigned index)
{
	return fake_n_irqs(opaque, index) + (index == VFU_IRQ_MSIX);
}

static void other_region_info(void *opaque, unsigned index, VfuRegion *ret)
{
	fake_region_info(opaque, index, ret);
	if (index == 2)
		ret->len *= 2;
}

static void other_sparse(void *opaque, unsigned index, VfuRegion *ret)
{
	fake_region_info(opaque, index, ret);
	if (index == 0)
		ret->sparse[0].len /= 2;
}

/* Somebody else at the same address is not taken for the device, and the client stays as it was. */
static void test_other_device(void)
{
	VfuServerOps others[] = { fake_ops, fake_ops, fake_ops };
	Served first;
	VfuClient *client;
	unsigned n_fds;

	others[0].n_irqs = other_n_irqs;
	others[1].region_info = other_region_info;
	others[2].region_info = other_sparse;
	served_init(&first);
	client = served_client(&first);
	n_fds = count_fds();
	for (unsigned i = 0; i < G_N_ELEMENTS(others); i++) {
		g_autoptr(GError) error = NULL;
		Served other;
		uint8_t byte;

		served_init_with(&other, &others[i]);
		g_assert_false(vfu_client_reconnect(client, other.peer, &error));
		g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED);
		served_clear(&other);
		g_assert_true(vfu_client_is_connected(client));
		g_assert_cmpint(vfu_client_read(client, 0, 3, &byte, 1), ==, 0);
	}
	g_assert_cmpuint(count_fds(), ==, n_fds);
	vfu_client_free(client);
	served_clear(&first);
}

static void test_silent_server(void)
{
	g_autoptr(GError) error = NULL;
	VfuClient *client;
	Served first;
	int pair[2];

	served_init(&first);
	client = served_client(&first);
	served_clear(&first);
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
	close(pair[0]);
	g_assert_false(vfu_client_reconnect(client, pair[1], &error));
	g_assert_nonnull(error);
	g_assert_false(vfu_client_is_connected(client));
	vfu_client_free(client);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/vfu-reconnect/addresses", test_addresses);
	g_test_add_func("/protocol/vfu-reconnect/replay", test_replay);
	g_test_add_func("/protocol/vfu-reconnect/replay-kept", test_replay_kept);
	g_test_add_func("/protocol/vfu-reconnect/replay-irqs", test_replay_irqs);
	g_test_add_func("/protocol/vfu-reconnect/other-device", test_other_device);
	g_test_add_func("/protocol/vfu-reconnect/silent-server", test_silent_server);
	return g_test_run();
}
