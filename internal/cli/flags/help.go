package flags

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// Layout of help, in columns.
const (
	defaultWidth = 80
	indent       = "  "
	gap          = "    " // between names and texts
	minNames     = 30     // names up to this length always have their text beside them
)

// printHelp writes the help of a command, or of the program if c is nil.
func (a *App) printHelp(out io.Writer, c *Command) error {
	p := &page{width: widthOf(out)}
	if c == nil {
		p.line("Usage: %s <command>", a.Name)
		p.text(a.Help)
	} else {
		p.line("Usage: %s %s", a.Name, c.usage())
		p.text(c.Help)
		p.table("Arguments:", c.argRows())
	}
	p.table("Flags:", [][2]string{{"-h, --help", "Show context-sensitive help."}})
	if c != nil {
		p.table("", c.flagRows())
	} else {
		var rows [][2]string
		for _, c := range a.Commands {
			rows = append(rows, [2]string{c.Name, c.Help})
		}
		p.table("Commands:", rows)
		p.text(fmt.Sprintf("Run \"%s <command> --help\" for more information on a command.", a.Name))
	}
	_, err := io.WriteString(out, p.b.String())
	return err
}

// usage summarizes how to call a command.
func (c *Command) usage() string {
	parts := []string{c.Name}
	optional := false
	for _, v := range c.Flags {
		if v.Required {
			parts = append(parts, v.Summary())
		} else {
			optional = true
		}
	}
	for _, v := range c.Args {
		parts = append(parts, v.Summary())
	}
	if optional {
		parts = append(parts, "[flags]")
	}
	return strings.Join(parts, " ")
}

func (c *Command) argRows() (rows [][2]string) {
	for _, v := range c.Args {
		rows = append(rows, [2]string{v.Summary(), v.Help})
	}
	return rows
}

func (c *Command) flagRows() (rows [][2]string) {
	for _, v := range c.Flags {
		help := strings.TrimSuffix(v.Help, ".") + " ($" + strings.Join(v.Envs, ", $") + ")."
		rows = append(rows, [2]string{"    " + v.Summary(), help}) // below "-h, "
	}
	return rows
}

// page is a page of help.
type page struct {
	width int // columns
	b     strings.Builder
}

func (p *page) line(format string, args ...any) { fmt.Fprintf(&p.b, format+"\n", args...) }

// text adds paragraphs, after an empty line.
func (p *page) text(text string) {
	p.line("")
	for _, line := range wrap(text, p.width) {
		p.line("%s", line)
	}
}

// table adds rows of a name and a text under a title, after an empty line. No rows make no table.
func (p *page) table(title string, rows [][2]string) {
	if rows == nil {
		return
	}
	p.line("")
	if title != "" {
		p.line("%s", title)
	}
	longest := max(minNames, p.width*3/8) // longer names get a line of their own
	names := 0
	for _, row := range rows {
		if n := utf8.RuneCountInString(row[0]); n < longest {
			names = max(names, n)
		}
	}
	for _, row := range rows {
		name := row[0]
		if utf8.RuneCountInString(name) > names {
			p.line("%s%s", indent, name)
			name = ""
		}
		for _, line := range wrap(row[1], p.width-len(indent)-names-len(gap)) {
			p.line("%s%-*s%s%s", indent, names, name, gap, line)
			name = ""
		}
	}
}

// wrap breaks paragraphs into lines of at most width columns, unless a word is longer.
func wrap(text string, width int) (lines []string) {
	for paragraph := range strings.SplitSeq(text, "\n") {
		line := ""
		for word := range strings.FieldsSeq(paragraph) {
			switch {
			case line == "":
				line = word
			case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
				line += " " + word
			default:
				lines = append(lines, line)
				line = word
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// widthOf returns the number of columns of a terminal.
func widthOf(out io.Writer) int {
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil {
		return n
	}
	if f, ok := out.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
			return n
		}
	}
	return defaultWidth
}
