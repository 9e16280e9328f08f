// Package declared reads directories of files that declare the users, groups, roles and managed policies of IAM.
//
// A file is user.NAME.json, group.NAME.json, role.NAME.json or policy.NAME.json. Files of a Kubernetes ConfigMap can have such names, and can't be in
// directories. A policy's file is an IAM policy document; the others have properties of CloudFormation's AWS::IAM::User, AWS::IAM::Group and
// AWS::IAM::Role, where a managed policy of the same directory may also be given by its name. Files at the top belong to one account; those of other
// accounts are in directories that have the account's twelve digits as their names. Names that begin with a dot are ignored, which includes the links and
// directories that Kubernetes makes; any other name is an error, so that a typing error loses nothing.
//
// The package checks the form of files and of policy documents. Service.Apply of package iam checks everything else, and Directory.Locate finds the place of
// its errors. File issuers.go reads files of OpenID Connect providers.
package declared

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/auth"
	"github.com/statordb/stator/internal/iam"
)

const (
	// maxFile is the largest file in bytes.
	maxFile = 1 << 20
	// maxTotal is how many bytes all files of a directory may have.
	maxTotal = 32 << 20
	// maxFiles is how many files a directory may have: an account has at most 5,000 users ("IAM and AWS STS quotas").
	maxFiles = 50_000
	// maxProblems is how many errors are reported.
	maxProblems = 100
)

// ErrEmpty means that a directory declares nothing. It is most likely a volume that is not mounted, and would remove all declared users with their keys.
var ErrEmpty = errors.New("it has no files: at least one must be left, so that a volume that is not mounted removes nothing")

// Problem is an error in a file.
type Problem struct {
	File string // as it was opened
	policy.Position
	Message string
}

// Error implements error.
func (p *Problem) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
}

// Directory is the content of a directory.
type Directory struct {
	// Digest identifies names and content of all files.
	Digest string

	dir   string
	files []*file // sorted by account, kind and name
}

var accountPattern = regexp.MustCompile(`^[0-9]{12}$`)

// Read reads all files of a directory, without parsing them. Files at its top belong to the account top; if that is empty, there must be none. Read
// fails if others than the server's user can write a file, as auth.ReadSecret does.
func Read(dir, top string) (*Directory, error) {
	d := &Directory{dir: dir}
	r := &reading{left: maxTotal}
	d.files = r.directory(dir, top, true)
	if len(d.files) == 0 && len(r.failed) == 0 {
		r.fail(dir, ErrEmpty)
	}
	if r.failed != nil {
		return nil, errors.Join(r.failed...)
	}
	slices.SortFunc(d.files, func(a, b *file) int {
		return cmp.Or(strings.Compare(a.account, b.account), strings.Compare(a.kind, b.kind), strings.Compare(a.name, b.name))
	})
	hash := sha256.New()
	for _, f := range d.files {
		fmt.Fprintf(hash, "%s %s %q %d\n", f.account, f.kind, f.name, len(f.text))
		hash.Write(f.text)
	}
	d.Digest = hex.EncodeToString(hash.Sum(nil))
	return d, nil
}

// reading is a Read in progress.
type reading struct {
	left   int // bytes that may still be read
	count  int // files so far
	failed []error
}

// fail records an error about a file. The file's name is left out of the error itself.
func (r *reading) fail(name string, err error) {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		err = at.Err
	}
	if len(r.failed) < maxProblems {
		r.failed = append(r.failed, fmt.Errorf("%s: %w", name, err))
	}
}

// directory reads a directory. Only at the top, it may have directories of accounts; without an account it must have nothing else.
func (r *reading) directory(dir, account string, top bool) (files []*file) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		r.fail(dir, err)
		return nil
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		info, err := os.Stat(name) // follows links
		switch {
		case err != nil:
			r.fail(name, err)
		case info.IsDir() && top && accountPattern.MatchString(e.Name()):
			files = append(files, r.directory(name, e.Name(), false)...)
		case info.IsDir():
			r.fail(name, errors.New("only directories that are named by an account's twelve digits may be here"))
		case !info.Mode().IsRegular():
			r.fail(name, errors.New("it is not a file"))
		case account == "":
			r.fail(name, errors.New("there are several accounts: move it into a directory that has the account's twelve digits as its name"))
		default:
			if f := r.file(name, account); f != nil {
				files = append(files, f)
			}
		}
	}
	return files
}

// file reads a file.
func (r *reading) file(name, account string) *file {
	base := filepath.Base(name)
	kind, rest, _ := strings.Cut(base, ".")
	object, isJSON := strings.CutSuffix(rest, ".json")
	if _, known := kinds[kind]; !known || !isJSON || object == "" {
		r.fail(name, errors.New("its name must be user.NAME.json, group.NAME.json, role.NAME.json or policy.NAME.json"))
		return nil
	}
	if r.count++; r.count > maxFiles {
		if r.count == maxFiles+1 {
			r.fail(name, fmt.Errorf("there are more than %d files", maxFiles))
		}
		return nil
	}
	text, err := auth.ReadSecret(name, min(maxFile, r.left))
	if err != nil {
		r.fail(name, err)
		return nil
	}
	r.left -= len(text)
	return &file{path: name, account: account, kind: kind, name: object, text: text}
}

// Parse parses all files. Its error joins a Problem for each fault.
func (d *Directory) Parse() (iam.Declaration, error) {
	out := iam.Declaration{Accounts: map[string]iam.Declared{}, Digest: d.Digest}
	var failed []error
	for _, f := range d.files {
		state := out.Accounts[f.account]
		f.parse(&state)
		out.Accounts[f.account] = state
		for _, p := range f.problems {
			failed = append(failed, p)
		}
	}
	return out, join(failed)
}

// join joins errors, and counts those that are too many.
func join(failed []error) error {
	if more := len(failed) - maxProblems; more > 0 {
		failed = append(failed[:maxProblems:maxProblems], fmt.Errorf("and %d more errors", more))
	}
	return errors.Join(failed...)
}

// Locate returns an error of Service.Apply with the places in the files: it replaces each joined iam.Invalid by a Problem. Errors of other types, and of
// objects that no file declares, stay as they are.
func (d *Directory) Locate(err error) error {
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	more := list[min(len(list), maxProblems):]
	out := make([]error, 0, len(list))
	for _, err := range list[:len(list)-len(more)] {
		if invalid, ok := errors.AsType[*iam.Invalid](err); ok {
			err = d.locate(invalid)
		}
		out = append(out, err)
	}
	slices.SortStableFunc(out, func(a, b error) int {
		p, _ := errors.AsType[*Problem](a)
		q, _ := errors.AsType[*Problem](b)
		if p == nil || q == nil {
			return 0
		}
		return cmp.Or(strings.Compare(p.File, q.File), cmp.Compare(p.Line, q.Line), cmp.Compare(p.Column, q.Column))
	})
	return join(append(out, more...))
}

func (d *Directory) locate(e *iam.Invalid) error {
	at := slices.IndexFunc(d.files, func(f *file) bool { return f.account == e.Account && f.kind == e.Kind && f.name == e.Name })
	if at < 0 {
		return fmt.Errorf("%s: account %s: %w", d.dir, e.Account, e)
	}
	f := d.files[at]
	offset, ok := f.at[place{e.Member, e.Value}]
	if !ok {
		offset = f.at[place{e.Member, ""}] // 0, the beginning, if the member is absent
	}
	return &Problem{f.path, f.position(offset), e.Err.Error()}
}

// file is a file.
type file struct {
	path       string
	account    string
	kind, name string // user, group, role or policy; the object's name
	text       []byte
	at         map[place]int // offsets of what errors may be about
	problems   []*Problem
}

// place is a member, or an element of one.
type place struct{ member, value string }

// position returns the place of an offset.
func (f *file) position(offset int) policy.Position {
	before := f.text[:offset]
	line := 1
	for i, c := range before {
		if c == '\n' {
			line++
			before = f.text[i+1 : offset]
		}
	}
	return policy.Position{Line: line, Column: len(before) + 1}
}

// document checks a policy document that begins at an offset.
func (f *file) document(offset int, text []byte, of policy.Kind) {
	_, err := policy.Parse(string(text), of)
	e, ok := errors.AsType[*policy.Error](err)
	if !ok {
		return
	}
	at := f.position(offset)
	if e.Line == 1 {
		at.Column += e.Column - 1
	} else {
		at.Column = e.Column
	}
	at.Line += e.Line - 1
	f.report(at, e.Message)
}

// fail records an error at an offset.
func (f *file) fail(offset int, format string, args ...any) {
	if len(f.problems) < maxProblems { // finding a position takes time
		f.report(f.position(offset), fmt.Sprintf(format, args...))
	}
}

func (f *file) report(at policy.Position, message string) {
	if len(f.problems) < maxProblems {
		f.problems = append(f.problems, &Problem{f.path, at, message})
	}
}

// parse parses the file into the state of its account.
func (f *file) parse(state *iam.Declared) {
	f.at, f.problems = map[place]int{}, nil
	if !utf8.Valid(f.text) {
		f.fail(invalidUTF8(f.text), "it is not UTF-8")
		return
	}
	kinds[f.kind](f, state)
}

// invalidUTF8 returns the offset of the first byte that is not UTF-8.
func invalidUTF8(text []byte) (offset int) {
	for offset < len(text) {
		r, n := utf8.DecodeRune(text[offset:])
		if r == utf8.RuneError && n <= 1 {
			return offset
		}
		offset += n
	}
	return offset
}
