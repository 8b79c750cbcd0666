/* SPDX-License-Identifier: BSD-3-Clause */
/* Man pages, made from the table: man(7) markup that any roff understands. */
#include "cli/overview.h"
#include "cli/verb.h"

#include <string.h>

/* ---- roff ---- */

/* One character of text as roff wants it; at the start of a line a dot would be a request. */
static void put_char(GString *page, char c)
{
	bool at_start = page->len == 0 || page->str[page->len - 1] == '\n';

	switch (c) {
	case '\\':
		g_string_append(page, "\\e");
		break;
	case '-':
		g_string_append(page, "\\-");
		break;
	case '\'':
		g_string_append(page, "\\(aq");
		break;
	case '`':
		g_string_append(page, "\\(ga");
		break;
	case '^':
		g_string_append(page, "\\(ha");
		break;
	case '~':
		g_string_append(page, "\\(ti");
		break;
	default:
		if (at_start && c == '.')
			g_string_append(page, "\\&");
		g_string_append_c(page, c);
	}
}

static void put_plain(GString *page, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		put_char(page, text[i]);
}

static void put_font(GString *page, char font, const char *text, size_t len)
{
	g_string_append_printf(page, "\\f%c", font);
	put_plain(page, text, len);
	g_string_append(page, "\\fR");
}

/* How much of TEXT is an option, "-H" or "--since"; it stands at the start of a word. */
static size_t option_len(const char *text)
{
	size_t len;

	if (text[0] != '-')
		return 0;
	if (text[1] != '-')
		return g_ascii_isalpha(text[1]) && !g_ascii_isalnum(text[2]) ? 2 : 0;
	len = strspn(text + 2, "abcdefghijklmnopqrstuvwxyz0123456789-");
	return len ? len + 2 : 0;
}

static bool ends_word(char c)
{
	return strchr(" \t\n([|\"", c) != NULL;
}

/* Options become bold; with METAS upper case words become italic, as in a synopsis. */
static void put_marked(GString *page, const char *text, bool metas)
{
	const char *pos = text;

	while (*pos) {
		bool at_start = pos == text || ends_word(pos[-1]);
		size_t len = at_start ? option_len(pos) : 0;

		if (len) {
			put_font(page, 'B', pos, len);
		} else if (metas && g_ascii_isupper(*pos) && !g_ascii_islower(pos[1])) {
			len = strspn(pos, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
			put_font(page, 'I', pos, len);
		} else {
			len = 1;
			put_char(page, *pos);
		}
		pos += len;
	}
}

static void put_section(GString *page, const char *title)
{
	g_autofree char *upper = g_ascii_strup(title, -1);

	g_string_append(page, ".SH ");
	put_plain(page, upper, strlen(upper));
	g_string_append_c(page, '\n');
}

/* Lines as they are, indented; leading tabs are the table's own. */
static void put_literal(GString *page, const char *text)
{
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

	g_string_append(page, ".PP\n.RS 4\n.nf\n");
	for (unsigned i = 0; lines[i]; i++) {
		const char *line = lines[i][0] == '\t' ? lines[i] + 1 : lines[i];

		put_plain(page, line, strlen(line));
		g_string_append_c(page, '\n');
	}
	g_string_append(page, ".fi\n.RE\n");
}

static void put_paragraphs(GString *page, const char *text)
{
	g_auto(GStrv) paragraphs = g_strsplit(text, "\n\n", -1);

	for (unsigned i = 0; paragraphs[i]; i++) {
		if (paragraphs[i][0] == '\t') {
			put_literal(page, paragraphs[i]);
			continue;
		}
		if (i > 0)
			g_string_append(page, ".PP\n");
		put_marked(page, paragraphs[i], false);
		g_string_append_c(page, '\n');
	}
}

static void put_item(GString *page, const char *term, bool metas, const char *description)
{
	g_string_append(page, ".TP\n");
	put_marked(page, term, metas);
	g_string_append_c(page, '\n');
	/* Help has phrases, a page has sentences. */
	put_char(page, g_ascii_toupper(description[0]));
	put_marked(page, description + 1, false);
	g_string_append(page, ".\n");
}

/* ---- parts of a page ---- */

char *cli_man_name(const CliVerb *verb)
{
	char *name = g_strconcat("softdcd", verb ? "-" : NULL, verb ? verb->name : NULL, NULL);

	return g_strdelimit(name, " ", '-');
}

static void put_head(GString *page, const char *name, const char *summary)
{
	g_autofree char *title = g_ascii_strup(name, -1);

	/* No date: the same source gives the same page. */
	g_string_append(page, ".TH ");
	put_plain(page, title, strlen(title));
	g_string_append(page, " 1 \"\" \"softdcd " SOFTDCD_VERSION "\" \"softdcd manual\"\n");
	g_string_append(page, ".SH NAME\n");
	put_plain(page, name, strlen(name));
	g_string_append(page, " \\- ");
	put_plain(page, summary, strlen(summary));
	g_string_append_c(page, '\n');
}

static void put_synopsis(GString *page, const CliVerb *verb)
{
	g_autofree char *text = cli_synopsis(verb);
	size_t command_len = strlen("softdcd ") + strlen(verb->name);

	put_section(page, "synopsis");
	/* Ragged and not hyphenated: it is no prose. */
	g_string_append(page, ".nh\n.ad l\n");
	put_font(page, 'B', text, command_len);
	put_marked(page, text + command_len, true);
	g_string_append(page, "\n.ad b\n.hy\n");
}

static void put_option(const CliParam *option, void *opaque)
{
	GString *page = opaque;
	g_autofree char *description = cli_param_describe(option);
	g_autofree char *short_term = option->short_name
					      ? g_strdup_printf("-%c, ", option->short_name)
					      : g_strdup("");
	const char *meta = cli_param_meta(option);
	g_autofree char *term = g_strconcat(short_term, "--", option->name, *meta ? " " : "", meta,
					    NULL);

	if (!option->hidden)
		put_item(page, term, true, description);
}

static void put_exits(GString *page, unsigned exits)
{
	put_section(page, "exit status");
	for (int code = 0; cli_exit_meaning(code); code++) {
		g_autofree char *term = g_strdup_printf("%d", code);

		if (exits & 1U << code)
			put_item(page, term, false, cli_exit_meaning(code));
	}
}

static void put_examples(GString *page, const CliExample *examples)
{
	if (!examples || !examples->command)
		return;
	put_section(page, "examples");
	for (; examples->command; examples++) {
		g_autofree char *command = g_strconcat("softdcd ", examples->command, NULL);

		g_string_append(page, ".PP\n");
		put_marked(page, examples->what, false);
		g_string_append(page, ":\n");
		put_literal(page, command);
	}
}

static void put_sections(GString *page, const CliSection *sections)
{
	for (; sections && sections->title; sections++) {
		put_section(page, sections->title);
		put_paragraphs(page, sections->text);
	}
}

static void put_see_also(GString *page, const char *const *verbs)
{
	put_section(page, "see also");
	g_string_append(page, ".nh\n.BR softdcd (1)");
	for (; verbs && *verbs; verbs++) {
		g_autofree char *name = g_strconcat("softdcd-", *verbs, NULL);

		g_strdelimit(name, " ", '-');
		g_string_append(page, ",\n.BR ");
		put_plain(page, name, strlen(name));
		g_string_append(page, " (1)");
	}
	g_string_append(page, "\n.hy\n");
}

/* ---- pages ---- */

static char *verb_page(const CliVerb *verb)
{
	g_autofree char *name = cli_man_name(verb);
	GString *page = g_string_new(NULL);

	put_head(page, name, verb->summary);
	put_synopsis(page, verb);
	put_section(page, "description");
	put_paragraphs(page, verb->text);
	if (verb->positionals && verb->positionals->name)
		put_section(page, "arguments");
	for (const CliParam *param = verb->positionals; param && param->name; param++) {
		g_autofree char *description = cli_param_describe(param);

		put_item(page, param->name, true, description);
	}
	put_section(page, "options");
	cli_foreach_option(verb, put_option, page);
	put_sections(page, verb->sections);
	put_exits(page, verb->exits | 1 << EXIT_DONE | 1 << EXIT_REFUSED | 1 << EXIT_USAGE);
	put_examples(page, verb->examples);
	put_see_also(page, verb->see_also);
	return g_string_free(page, FALSE);
}

static char *overview_page(void)
{
	GString *page = g_string_new(NULL);

	put_head(page, "softdcd", CLI_OVERVIEW_SUMMARY);
	put_section(page, "synopsis");
	g_string_append(page, "\\fBsoftdcd\\fR \\fIVERB\\fR [\\fIARGUMENT\\fR]... "
			      "[\\fIOPTION\\fR]...\n");
	put_section(page, "description");
	put_paragraphs(page, cli_overview_text);
	put_section(page, "verbs");
	for (unsigned i = 0; cli_verbs[i]; i++) {
		g_autofree char *name = cli_man_name(cli_verbs[i]);

		if (cli_verbs[i]->flags & CLI_VERB_HIDDEN)
			continue;
		g_string_append(page, ".TP\n.BR ");
		put_plain(page, name, strlen(name));
		g_string_append(page, " (1)\n");
		put_plain(page, cli_verbs[i]->summary, strlen(cli_verbs[i]->summary));
		g_string_append(page, ".\n");
	}
	put_sections(page, cli_overview_sections);
	put_exits(page, UINT32_MAX);
	return g_string_free(page, FALSE);
}

char *cli_man_page(const CliVerb *verb)
{
	return verb ? verb_page(verb) : overview_page();
}
