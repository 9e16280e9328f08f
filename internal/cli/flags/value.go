package flags

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Value is a flag or an argument.
type Value struct {
	Name, Help, Default string
	// Envs are the environment variables that give the value, the most important one first. Arguments have none.
	Envs []string
	// Required says that the command line or the environment must give the value.
	Required bool

	placeholder, and string
	enum             []string
	whole, file, set bool
	target           any // pointer to the field
}

// kind names the type of the value in error messages.
func (v *Value) kind() string {
	if v.file {
		return "file"
	}
	switch v.target.(type) {
	case *string, *[]string:
		return "string"
	case *bool:
		return "bool"
	case *int, *int64:
		return "int"
	case *uint64:
		return "uint"
	case *time.Duration:
		return "duration"
	}
	return ""
}

// IsBool reports whether the value is a bool, which needs no value on the command line.
func (v *Value) IsBool() bool { return v.kind() == "bool" }

// Placeholder names a flag's value in help.
func (v *Value) Placeholder() string {
	if _, list := v.target.(*[]string); list && !v.whole {
		return v.placeholder + ",..."
	}
	return v.placeholder
}

// Summary returns the value as the usage of its command has it.
func (v *Value) Summary() string {
	switch isArg := v.Envs == nil; {
	case isArg && !v.Required:
		return "[" + v.label() + "]"
	case isArg, v.IsBool():
		return v.label()
	}
	return v.label() + "=" + v.Placeholder()
}

// label names the value in error messages.
func (v *Value) label() string {
	if v.Envs == nil {
		return "<" + v.Name + ">"
	}
	return "--" + v.Name
}

// complete sets a flag that the command line did not give: from the environment, or else to its default.
func (v *Value) complete() error {
	if v.set {
		return nil
	}
	for _, env := range v.Envs {
		if text, ok := os.LookupEnv(env); ok {
			if err := v.read(text); err != nil {
				return fmt.Errorf("%w (from envar %s=%q)", err, env, text)
			}
			return nil
		}
	}
	if v.Default == "" {
		return nil
	}
	return v.read(v.Default)
}

// read sets the value, or appends to a list.
func (v *Value) read(text string) error {
	if v.enum != nil && !slices.Contains(v.enum, text) {
		return fmt.Errorf("%s must be one of %s but got %q", v.label(), strings.Join(quoted(v.enum), ","), text)
	}
	if err := v.decode(text); err != nil {
		return fmt.Errorf("%s: %w", v.label(), err)
	}
	v.set = true
	return nil
}

func (v *Value) decode(text string) (err error) {
	switch target := v.target.(type) {
	case *string:
		if v.file {
			text, err = existing(text)
		}
		*target = text
		return err
	case *[]string:
		if v.whole {
			*target = append(*target, text)
		} else {
			*target = append(*target, split(text)...)
		}
		return nil
	case *bool:
		switch strings.ToLower(text) {
		case "true", "1", "yes":
			*target = true
		case "false", "0", "no":
			*target = false
		default:
			return fmt.Errorf("expected true, 1, yes, false, 0 or no but got %q", text)
		}
		return nil
	case *int:
		*target, err = strconv.Atoi(text)
	case *int64:
		*target, err = strconv.ParseInt(text, 0, 64)
	case *uint64:
		*target, err = strconv.ParseUint(text, 0, 64)
	case *time.Duration:
		*target, err = time.ParseDuration(text)
	}
	if err != nil {
		return fmt.Errorf("expected %s but got %q", v.kind(), text)
	}
	return nil
}

// existing returns the absolute path of a file, which must exist. A leading ~/ is the home directory.
func existing(path string) (string, error) {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		path = filepath.Join(home, rest)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%q exists but is a directory", path)
	}
	return path, err
}

// split splits a list at commas, except at those behind a backslash.
func split(list string) (elements []string) {
	const escaped = "\x00" // no argument and no environment variable contains it
	for e := range strings.SplitSeq(strings.ReplaceAll(list, `\,`, escaped), ",") {
		elements = append(elements, strings.ReplaceAll(e, escaped, ","))
	}
	if last := len(elements) - 1; elements[last] == "" {
		elements = elements[:last]
	}
	return elements
}
