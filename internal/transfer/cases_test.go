package transfer

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/klauspost/compress/zstd"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attempts"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/cluster"
	"github.com/statordb/stator/internal/itemfile"
	"github.com/statordb/stator/internal/jobs"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/pebblekv"
	"github.com/statordb/stator/internal/metering"
	"github.com/statordb/stator/internal/objectstore"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/table"
)

// TestCases runs the cases in testdata. Each file is a session with a new store and the buckets "in" and "out".
//
// Commands:
//
//	object KEY [gzip|zstd]
//	TEXT
//		puts an object into the bucket "in", with a line feed at the end of each line
//
//	import TABLE NAME=TYPE [NAME=TYPE] format=FORMAT [prefix=KEY] [compression=KIND] [delimiter=TEXT] [header=NAME,NAME]
//		imports the objects into a new table with this key, and prints the outcome, what was logged, and the table's items
//
//	bulk TABLE [prefix=KEY] [format=FORMAT]
//		puts the objects' records into the table, and prints the outcome and the items
//
//	export TABLE [format=FORMAT]
//		exports the table, prints the outcome and the objects: ids, sums and times become <…>
func TestCases(t *testing.T) {
	datadriven.Walk(t, "testdata/cases", func(t *testing.T, file string) {
		s := newSession(t)
		datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
			s.t = t
			switch d.Cmd {
			case "object":
				s.object(d)
				return ""
			case "import":
				return s.imported(d)
			case "bulk":
				return s.bulk(d)
			case "export":
				return s.export(d)
			}
			d.Fatalf(t, "unknown command")
			return ""
		})
	})
}

// session is a Manager with its store and buckets.
type session struct {
	*Manager
	t        *testing.T
	log      bytes.Buffer
	released chan string // names of jobs that have ended
	stop     func()      // ends the jobs
	// caughtUp, if not nil, is called when this server catches up with other servers.
	caughtUp func()
}

// following is a coordinator that calls session.caughtUp, and sends the names of jobs that have ended to session.released.
type following struct {
	*cluster.Solo
	s *session
}

func (f following) CatchUp(context.Context) error {
	if f.s.caughtUp != nil {
		f.s.caughtUp()
	}
	return nil
}

func (f following) Release(job string) {
	f.Solo.Release(job)
	f.s.released <- job
}

func newSession(t *testing.T) *session {
	s := &session{t: t, released: make(chan string, 100)}
	now := func() time.Time { return time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC) }
	store, err := pebblekv.Open(pebblekv.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	coordinator := following{cluster.NewSolo(ctx, nil), s}
	tables, err := catalog.Open(ctx, store, catalog.Options{Coordinator: coordinator, Now: now, Meters: metering.NewRegistry(now)})
	if err != nil {
		t.Fatal(err)
	}
	runner := jobs.New(ctx, coordinator, func(err error) { t.Error(err) })
	s.stop = func() {
		cancel()
		runner.Wait()
	}
	t.Cleanup(func() {
		s.stop()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	logger := slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}}))
	s.Manager, err = Open(ctx, Options{
		Tables: &table.Store{KV: kv.Checked(store), Catalog: tables, Now: now}, Jobs: runner, Coordinator: coordinator,
		Objects: objectstore.NewFolder(t.TempDir()), Suspects: attempts.NewSuspects(), Now: now, Logger: logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	rules := Rules{
		CheckItem: func(t *catalog.Table, it attribute.Item) error {
			for k := range t.Key.Attributes {
				if v := it.Get(k.Name); v == nil || v.Type() != k.Type {
					return errors.New("the key " + k.Name + " is missing or has another type")
				}
			}
			return nil
		},
		Filter: func(*catalog.Table, *api.FilterSpecification) (func(attribute.Item) attribute.Item, error) {
			return func(it attribute.Item) attribute.Item { return it }, nil
		},
		Condition: func(*itemfile.Record) (func(attribute.Item) error, error) { return nil, nil },
	}
	if err := s.Resume(ctx, rules); err != nil {
		t.Fatal(err)
	}
	if _, err := objectstore.Put(ctx, s.Objects, "out", "marker", nil, objectstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	return s
}

// ended waits until the status that it gets is a final one.
func (s *session) ended(status func() string) {
	for status() == InProgress {
		<-s.released
	}
}

// arg returns an argument's value, "" if it is missing.
func arg(d *datadriven.TestData, name string) (value string) {
	for _, a := range d.CmdArgs {
		if a.Key == name {
			return strings.Join(a.Vals, ",")
		}
	}
	return ""
}

// option returns an optional member of a request.
func option(text string) smithy.Opt[string] { return smithy.Opt[string]{Value: text, Set: text != ""} }

func (s *session) object(d *datadriven.TestData) {
	var b bytes.Buffer
	var w io.WriteCloser = nopCloser{&b}
	switch {
	case d.HasArg("gzip"):
		w = gzip.NewWriter(&b)
	case d.HasArg("zstd"):
		var err error
		if w, err = zstd.NewWriter(&b); err != nil {
			s.t.Fatal(err)
		}
	}
	_, err := io.WriteString(w, d.Input+"\n")
	if err = errors.Join(err, w.Close()); err != nil {
		s.t.Fatal(err)
	}
	if _, err := objectstore.Put(s.t.Context(), s.Objects, "in", d.CmdArgs[0].Key, b.Bytes(), objectstore.PutOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

var types = map[string]attribute.Type{"S": attribute.TypeS, "N": attribute.TypeN, "B": attribute.TypeB}

func (s *session) imported(d *datadriven.TestData) string {
	t := &catalog.Table{Name: d.CmdArgs[0].Key, OnDemandBilling: true, Recovery: &catalog.Recovery{Days: 35}}
	for _, a := range d.CmdArgs[1:] {
		if len(a.Vals) != 1 || types[a.Vals[0]] == 0 {
			continue
		}
		key := catalog.KeyAttribute{Name: a.Key, Type: types[a.Vals[0]]}
		t.Attributes = append(t.Attributes, key)
		if t.Key.Partition == nil {
			t.Key.Partition = []catalog.KeyAttribute{key}
		} else {
			t.Key.Sort = []catalog.KeyAttribute{key}
		}
	}
	i := &Import{Table: t.Name, TableUUID: "uuid", Request: ImportRequest{
		S3BucketSource: &Source{S3Bucket: option("in"), S3KeyPrefix: option(arg(d, "prefix"))},
		InputFormat:    option(arg(d, "format")), InputCompressionType: option(arg(d, "compression")),
	}}
	if arg(d, "format") == api.InputFormatCsv {
		csv := &CSVOptions{Delimiter: option(strings.ReplaceAll(arg(d, "delimiter"), "TAB", "\t"))}
		if h := arg(d, "header"); h != "" {
			csv.HeaderList = strings.Split(h, ",")
		}
		i.Request.InputFormatOptions = &FormatOptions{Csv: csv}
	}
	s.log.Reset()
	i, taken, err := s.StartImport(s.t.Context(), i, t)
	if err != nil || taken != nil {
		d.Fatalf(s.t, "%v, taken: %v", err, taken != nil)
	}
	s.ended(func() string { return s.Current(s.Imports.Get(i.Key())).Status })
	i = s.Imports.Get(i.Key())
	out := fmt.Sprintf("%s: %d processed, %d imported, %d refused%s\n", i.Status, i.Processed, i.Imported, i.Errors, why(i.Failure))
	return out + stable(s.log.String()) + s.items(t.Name)
}

func why(f *Failure) string {
	if f == nil {
		return ""
	}
	return ", " + f.Error()
}

// items prints a table's items, sorted as text.
func (s *session) items(name string) string {
	t := s.Tables.Catalog.Get(catalog.Namespace{}, name)
	if t == nil {
		return "no table\n"
	}
	p, err := s.Tables.ReadPage(s.t.Context(), table.PageQuery{Table: t, Range: table.SegmentRange(t, 0, 0, 1)})
	if err != nil {
		s.t.Fatal(err)
	}
	defer p.Close()
	var list []string
	for _, it := range p.Items {
		list = append(list, string(it.AppendJSON(nil))+"\n")
	}
	slices.Sort(list)
	return strings.Join(list, "")
}

func (s *session) bulk(d *datadriven.TestData) string {
	t := s.Tables.Catalog.Get(catalog.Namespace{}, d.CmdArgs[0].Key)
	b, err := s.StartBulk(s.t.Context(), &Bulk{Table: t.Name, TableUUID: t.UUID, TableID: t.ID, Request: BulkRequest{
		TableName:             option(t.Name),
		InputS3Configuration:  &BulkInput{S3Bucket: option("in"), S3KeyPrefix: option(arg(d, "prefix")), InputFormat: option(arg(d, "format"))},
		OutputS3Configuration: &BulkOutput{S3Bucket: option("out"), S3KeyPrefix: option("reports")},
	}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.ended(func() string { return s.Bulk.Get(b.Key()).Status })
	b = s.Bulk.Get(b.Key())
	out := fmt.Sprintf("%s: %d processed, %d refused%s\n", b.Status, b.Items, b.Errors, why(b.Failure))
	return out + s.objects("reports") + s.items(t.Name)
}

func (s *session) export(d *datadriven.TestData) string {
	t := s.Tables.Catalog.Get(catalog.Namespace{}, d.CmdArgs[0].Key)
	e := &Export{Table: t.Name, TableUUID: t.UUID, TableID: t.ID, At: kv.AtMillis(s.Now().UnixMilli()), Request: ExportRequest{
		S3Bucket: option("out"), S3Prefix: option("exports/" + strconv.Itoa(len(s.Exports.All()))), ExportFormat: option(arg(d, "format")),
	}}
	e, err := s.StartExport(s.t.Context(), e)
	if err != nil {
		s.t.Fatal(err)
	}
	s.ended(func() string { return s.Exports.Get(e.Key()).Status })
	e = s.Exports.Get(e.Key())
	return fmt.Sprintf("%s: %d items, %d bytes%s\n", e.Status, e.Items, e.Bytes, why(e.Failure)) + s.objects(e.Request.S3Prefix.Value)
}

// objects prints the objects of the bucket "out" with a prefix, decompressed.
func (s *session) objects(prefix string) string {
	var list []string
	err := s.Objects.List(s.t.Context(), "out", prefix, func(o objectstore.Object) error {
		r, err := s.Objects.Open(s.t.Context(), "out", o.Key)
		if err != nil {
			return err
		}
		defer r.Close()
		var in io.Reader = r
		if path.Ext(o.Key) == ".gz" {
			if in, err = gzip.NewReader(r); err != nil {
				return err
			}
		}
		text, err := io.ReadAll(in)
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		slices.Sort(lines)
		list = append(list, stable(strings.TrimPrefix(o.Key, prefix+"/")+"\n"))
		for _, line := range lines {
			if line != "" {
				list[len(list)-1] += stable("  " + line + "\n")
			}
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	slices.Sort(list)
	return strings.Join(list, "")
}

var unstable = []struct {
	what string
	re   *regexp.Regexp
}{
	{"<uuid>", regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)},
	{"<id>", regexp.MustCompile(`\d{14}-[0-9a-f]{8}`)},
	{"<sum>", regexp.MustCompile(`[0-9a-f]{32}(-\d+)?|[A-Za-z0-9+/]{22}==`)},
	{"<file>", regexp.MustCompile(`[0-9a-z]{26}`)},
}

// stable replaces what differs between runs.
func stable(text string) string {
	for _, u := range unstable {
		text = u.re.ReplaceAllString(text, u.what)
	}
	return text
}
