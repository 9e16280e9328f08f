// Package flags reads a command line that a struct describes: its fields are commands, and their fields are flags and arguments.
//
// A command has the tag help. The tags of a flag or argument:
//
//	name         its name, if it isn't the field's in lower case with hyphens
//	help         what it is; ${default} stands for the default
//	placeholder  names the value in help; every flag that isn't a bool needs one
//	default      the value if none is given
//	env          environment variables that give the value, separated by commas; the prefix and the flag's name if there is no such tag
//	enum         the values allowed, separated by commas
//	sep          none: a list's value is one element; otherwise commas separate elements, and \, is a comma
//	type         existingfile: the value is the path of a file, which is made absolute
//	and          flags of a command with the same tag must be given together
//	required     the flag must be given
//	arg          an argument, which must be given unless it has the tag optional
//
// A field is a string, bool, int, int64, uint64, time.Duration or []string; embedded structs add their fields. The command line takes
// precedence over the environment, and the environment over defaults.
//
// Libraries for command lines find methods by computed names (kong) or print help by text/template. In a program that does either, the
// linker keeps every exported method of every type that reaches an interface: a fifth of Stator.
package flags

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"unicode"
)

// App is a program with commands.
type App struct {
	Name, Help string
	Commands   []*Command
}

// Command is a command. Its flags and arguments have the order of their fields.
type Command struct {
	Name, Help  string
	Flags, Args []*Value
	// Target is a pointer to the command's field.
	Target any

	given int // number of Args that were given
}

// New returns the program that the struct behind commands describes. envPrefix begins the names of environment variables. It panics if a
// field has an unsupported type.
func New(commands any, name, help, envPrefix string) *App {
	app := &App{Name: name, Help: help}
	for f, v := range reflect.ValueOf(commands).Elem().Fields() {
		c := &Command{Name: dashed(f.Name), Help: f.Tag.Get("help"), Target: v.Addr().Interface()}
		c.add(v, envPrefix)
		app.Commands = append(app.Commands, c)
	}
	return app
}

// add adds the fields of a struct to the command's flags and arguments.
func (c *Command) add(s reflect.Value, envPrefix string) {
	for f, field := range s.Fields() {
		if f.Anonymous {
			c.add(field, envPrefix)
			continue
		}
		tag := f.Tag.Get
		v := &Value{
			Name: tag("name"), Default: tag("default"), placeholder: tag("placeholder"), and: tag("and"),
			whole: tag("sep") == "none", file: tag("type") == "existingfile", target: field.Addr().Interface(),
		}
		if v.Name == "" {
			v.Name = dashed(f.Name)
		}
		v.Help = strings.ReplaceAll(tag("help"), "${default}", v.Default)
		if enum := tag("enum"); enum != "" {
			v.enum = strings.Split(enum, ",")
		}
		if v.kind() == "" {
			panic("flags: the type of " + f.Name + " is not supported")
		}
		if _, isArg := f.Tag.Lookup("arg"); isArg {
			_, optional := f.Tag.Lookup("optional")
			v.Required = !optional
			c.Args = append(c.Args, v)
			continue
		}
		_, v.Required = f.Tag.Lookup("required")
		env, ok := f.Tag.Lookup("env")
		if !ok {
			env = envPrefix + "_" + strings.ToUpper(strings.ReplaceAll(v.Name, "-", "_"))
		}
		v.Envs = strings.Split(env, ",")
		c.Flags = append(c.Flags, v)
	}
}

// dashed converts the name of a field: DataDir becomes data-dir.
func dashed(name string) string {
	var out []rune
	lower := false
	for _, r := range name {
		if lower && unicode.IsUpper(r) {
			out = append(out, '-')
		}
		lower = !unicode.IsUpper(r)
		out = append(out, unicode.ToLower(r))
	}
	return string(out)
}

// Parse reads the arguments of the program, and the environment, into the fields of the command that the arguments choose. It returns that
// command, or nil if the arguments ask for help, which it writes to out.
func (a *App) Parse(args []string, out io.Writer) (c *Command, err error) {
	help, argsOnly := false, false
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case argsOnly || arg == "-" || !strings.HasPrefix(arg, "-"):
			if c == nil {
				c, err = a.command(arg)
			} else {
				err = c.arg(arg)
			}
		case arg == "--":
			argsOnly = true
		case arg == "-h" || arg == "--help":
			help = true
		default:
			args, err = c.flag(arg, args)
		}
		if err != nil {
			return nil, err
		}
	}
	if help {
		return nil, a.printHelp(out, c)
	}
	if c == nil {
		return nil, errors.New(`expected one of ` + strings.Join(quoted(a.names()), ", "))
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	return c, nil
}

// names returns the names of the commands.
func (a *App) names() (names []string) {
	for _, c := range a.Commands {
		names = append(names, c.Name)
	}
	return names
}

// command finds a command by its name.
func (a *App) command(name string) (*Command, error) {
	for _, c := range a.Commands {
		if c.Name == name {
			return c, nil
		}
	}
	return nil, errors.New("unexpected argument " + name + similar(name, a.names()))
}

// arg sets the next argument of the command.
func (c *Command) arg(text string) error {
	if c.given == len(c.Args) {
		return errors.New("unexpected argument " + text)
	}
	v := c.Args[c.given]
	c.given++
	return v.read(text)
}

// flag sets a flag, of the form --name or --name=value, and returns the arguments behind it. c is nil before the command.
func (c *Command) flag(arg string, behind []string) ([]string, error) {
	name, text, hasText := strings.Cut(arg, "=")
	known := []string{"--help", "-h"}
	var v *Value
	if c != nil {
		for _, f := range c.Flags {
			known = append(known, "--"+f.Name)
			if "--"+f.Name == name {
				v = f
			}
		}
	}
	switch {
	case v == nil:
		return nil, errors.New("unknown flag " + name + similar(name, known))
	case hasText:
	case v.IsBool():
		text = "true"
	case len(behind) == 0:
		return nil, fmt.Errorf("%s: expected %s", name, v.kind())
	case behind[0] != "-" && strings.HasPrefix(behind[0], "-"):
		return nil, fmt.Errorf("%s: expected %s but got %q; perhaps try %s=%q?", name, v.kind(), behind[0], name, behind[0])
	default:
		text, behind = behind[0], behind[1:]
	}
	return behind, v.read(text)
}

// complete sets the values that the command line did not give, and checks what concerns several flags.
func (c *Command) complete() error {
	for _, v := range c.Flags {
		if err := v.complete(); err != nil {
			return err
		}
	}
	var missing []string
	for _, v := range c.Flags {
		if v.Required && !v.set {
			missing = append(missing, v.Summary())
		}
	}
	if missing != nil {
		return errors.New("missing flags: " + strings.Join(missing, ", "))
	}
	for _, v := range c.Args {
		if v.Required && !v.set {
			return fmt.Errorf("expected %q", v.Summary())
		}
	}
	for _, v := range c.Flags {
		if v.and == "" || !v.set {
			continue
		}
		all := true
		var names []string
		for _, other := range c.Flags {
			if other.and == v.and {
				all = all && other.set
				names = append(names, "--"+other.Name)
			}
		}
		if !all {
			return errors.New(strings.Join(names, " and ") + " must be used together")
		}
	}
	return nil
}

// similar returns a suggestion for a misspelled name, or nothing.
func similar(name string, known []string) string {
	var like []string
	for _, k := range known {
		if strings.HasPrefix(k, name) || distance(k, name) <= 2 {
			like = append(like, k)
		}
	}
	switch len(like) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf(", did you mean %q?", like[0])
	}
	return ", did you mean one of " + strings.Join(quoted(like), ", ") + "?"
}

// distance returns the Levenshtein distance of two strings in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1) // distances of the part of a so far to the prefixes of b
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0]++
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func quoted(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = strconv.Quote(s)
	}
	return out
}
