package iam

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/statordb/stator/internal/access/policy"
)

// maxDeclared bounds the size of a file that ReadDeclared reads, in bytes.
const maxDeclared = 16 << 20

// ReadDeclared reads a desired state from the files of a directory whose names end with .json, in the order of their names. Each has an object with lists of
// users, groups, roles and policies, all optional, in the form of Declared:
//
//	{"users": [{"name": "alice", "groups": ["staff"], "inline": {"own": {"Version": "2012-10-17", "Statement": […]}}}],
//	 "policies": [{"name": "reader", "path": "/data/", "document": {…}}]}
//
// Policies are compiled, so that errors are found where they are: an error begins with file and line. Apply finds the others, and names the object.
func ReadDeclared(dir string) (Declared, error) {
	var out Declared
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return out, err
	}
	if len(names) == 0 { // a wrong directory would remove everything
		return out, fmt.Errorf("%s has no file whose name ends with .json", dir)
	}
	for _, name := range names {
		if err := readDeclared(name, &out); err != nil {
			return out, err
		}
	}
	return out, nil
}

// source is the text of a file.
type source struct {
	name string
	text []byte
}

// wrong returns an error at a byte of the file.
func (s *source) wrong(at int64, err error) error {
	at = min(max(at, 0), int64(len(s.text)))
	return fmt.Errorf("%s:%d: %w", s.name, 1+bytes.Count(s.text[:at], []byte("\n")), err)
}

// decoding returns an error of encoding/json where it is in the file, given where the decoded part begins.
func (s *source) decoding(from int64, part []byte, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		from += syntax.Offset
	case errors.As(err, &kind):
		from += kind.Offset
		err = fmt.Errorf("%s is of the wrong type, a JSON %s", kind.Field[strings.LastIndexByte(kind.Field, '.')+1:], kind.Value)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		from, err = int64(len(s.text)), errors.New("the JSON ends too early")
	default:
		// An unknown member: the error has its name in quotes, as the file does.
		if _, name, ok := strings.Cut(err.Error(), "unknown field "); ok {
			from += int64(max(0, bytes.Index(part, []byte(name))))
			err = fmt.Errorf("unknown member %s", name)
		}
	}
	return s.wrong(from, err)
}

func readDeclared(name string, out *Declared) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxDeclared+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if len(text) > maxDeclared {
		return fmt.Errorf("%s has more than %d bytes", name, maxDeclared)
	}
	s := &source{name, text}
	d := json.NewDecoder(bytes.NewReader(text))
	if token, err := d.Token(); err != nil {
		return s.decoding(0, nil, err)
	} else if token != json.Delim('{') {
		return s.wrong(0, errors.New("want a JSON object"))
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return s.decoding(0, nil, err)
		}
		switch list := key.(string); list {
		case "users":
			err = elements(s, d, &out.Users, func(u *DeclaredUser, check checker) error { return check.all(u.Inline) })
		case "groups":
			err = elements(s, d, &out.Groups, func(g *DeclaredGroup, check checker) error { return check.all(g.Inline) })
		case "roles":
			err = elements(s, d, &out.Roles, func(r *DeclaredRole, check checker) error {
				return errors.Join(check(r.Trust, policy.OfTrust), check.all(r.Inline))
			})
		case "policies":
			err = elements(s, d, &out.Policies, func(p *DeclaredPolicy, check checker) error { return check(p.Document, policy.OfIdentity) })
		default:
			err = s.wrong(d.InputOffset(), fmt.Errorf("unknown member %q: want users, groups, roles or policies", list))
		}
		if err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return s.decoding(0, nil, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return s.wrong(d.InputOffset(), errors.New("there is more text after the object"))
	}
	return nil
}

// checker compiles a policy of an element. Its error says where it is in the file.
type checker func(raw json.RawMessage, of policy.Kind) error

// all checks inline policies.
func (c checker) all(list map[string]json.RawMessage) (err error) {
	for _, raw := range list {
		err = errors.Join(err, c(raw, policy.OfIdentity))
	}
	return err
}

// elements reads a list and appends its elements to out.
func elements[T any](s *source, d *json.Decoder, out *[]T, check func(v *T, check checker) error) error {
	if token, err := d.Token(); err != nil {
		return s.decoding(0, nil, err)
	} else if token != json.Delim('[') {
		return s.wrong(d.InputOffset(), errors.New("want a list"))
	}
	for d.More() {
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return s.decoding(0, nil, err)
		}
		start := d.InputOffset() - int64(len(raw))
		var v T
		strict := json.NewDecoder(bytes.NewReader(raw))
		strict.DisallowUnknownFields()
		if err := strict.Decode(&v); err != nil {
			return s.decoding(start, raw, err)
		}
		err := check(&v, func(text json.RawMessage, of policy.Kind) error {
			if len(text) == 0 {
				return s.wrong(start, errors.New("a policy is missing"))
			}
			_, err := policy.Parse(string(text), of)
			var e *policy.Error
			if errors.As(err, &e) {
				at := start + int64(max(0, bytes.Index(raw, text)))
				line := 1 + bytes.Count(s.text[:at], []byte("\n")) + e.Line - 1
				return fmt.Errorf("%s:%d: %s", s.name, line, e.Message)
			}
			return err
		})
		if err != nil {
			return err
		}
		*out = append(*out, v)
	}
	_, err := d.Token()
	if err != nil {
		return s.decoding(0, nil, err)
	}
	return nil
}
