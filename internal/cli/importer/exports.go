package importer

import (
	"bufio"
	"context"
	"crypto/md5" // #nosec: AWS's manifests have it
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/itemfile"
	"github.com/statordb/stator/internal/objectstore"
)

// Exports describe which exports to import.
type Exports struct {
	objectstore.Place
	// Table is the table to import into; "" for the name of the exported table.
	Table string
	// Source is the name of the exported table. It is needed if there are exports of several tables.
	Source string
	// Keys are the key attributes of a table that has to be created, such as id:S, partition key first. Exports don't
	// contain them.
	Keys []string
}

// export is an export, as described by its manifests.
type export struct {
	itemfile.Manifest
	folder string // folder of its manifests
}

func (e *export) incremental() bool { return e.ExportType == "INCREMENTAL_EXPORT" }

// end returns the moment whose state the table has once the export is imported.
func (e *export) end() string {
	if e.incremental() {
		return e.To
	}
	return e.ExportTime
}

// tableOf returns the table name in an ARN.
func tableOf(arn string) string {
	_, name, _ := strings.Cut(arn, ":table/")
	name, _, _ = strings.Cut(name, "/")
	return name
}

// Import imports the newest full export, then the incremental exports that continue from it, in order. Without a full
// export, it imports only the incremental ones.
func (x *Exports) Import(ctx context.Context, opt Options) error {
	all, err := x.find(ctx)
	if err != nil {
		return err
	}
	list, err := x.choose(all)
	if err != nil {
		return err
	}
	table := x.Table
	if table == "" {
		table = tableOf(list[0].TableARN)
	}
	exists, err := opt.exists(ctx, table)
	if err != nil {
		return err
	}
	if !exists {
		in, err := newTable(table, x.Keys)
		if err != nil {
			return err
		}
		if err := opt.create(ctx, in); err != nil {
			return err
		}
	}
	for _, e := range list {
		n, err := x.load(ctx, &opt, table, e)
		if err != nil {
			return fmt.Errorf("%s: %w", e.folder, err)
		}
		fmt.Fprintf(opt.Out, "%s %s: %d items into %s\n", e.ExportType, path.Base(e.folder), n, table)
	}
	return nil
}

// newTable returns the request that creates a table with these key attributes.
func newTable(name string, keys []string) (map[string]any, error) {
	if len(keys) == 0 || len(keys) > 2 {
		return nil, fmt.Errorf("table %s does not exist: create it first, or name its key attributes with --key, as id:S or pk:S,sk:N", name)
	}
	var attributes, schema []any
	for i, k := range keys {
		attr, kind, ok := strings.Cut(k, ":")
		if !ok || attr == "" || kind != "S" && kind != "N" && kind != "B" {
			return nil, fmt.Errorf("key attribute %q: must be NAME:S, NAME:N or NAME:B", k)
		}
		attributes = append(attributes, map[string]any{"AttributeName": attr, "AttributeType": kind})
		schema = append(schema, map[string]any{"AttributeName": attr, "KeyType": []string{"HASH", "RANGE"}[i]})
	}
	return map[string]any{"TableName": name, "BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": attributes, "KeySchema": schema}, nil
}

const (
	// maxExports bounds the exports that are considered.
	maxExports = 100_000
	// maxSummary and maxFileLine bound a manifest-summary.json, and a line of a manifest-files.json, in bytes.
	maxSummary  = 64 << 10
	maxFileLine = 16 << 10
)

// find returns all exports, or those of Source.
func (x *Exports) find(ctx context.Context) (all []*export, err error) {
	var manifests []string
	err = x.Store.List(ctx, x.Bucket, x.Prefix, func(o objectstore.Object) error {
		if path.Base(o.Key) == "manifest-summary.json" {
			manifests = append(manifests, o.Key)
		}
		if len(manifests) > maxExports {
			return fmt.Errorf("more than %d exports: name a folder with fewer", maxExports)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, key := range manifests {
		e := &export{folder: path.Dir(key)}
		body, err := objectstore.Get(ctx, x.Store, x.Bucket, key, maxSummary)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(body, &e.Manifest); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		if x.Source == "" || tableOf(e.TableARN) == x.Source {
			all = append(all, e)
		}
	}
	return all, nil
}

// files calls visit for each data file listed in an export's manifest-files.json.
func (x *Exports) files(ctx context.Context, e *export, visit func(itemfile.DataFile) error) error {
	key := e.folder + "/manifest-files.json"
	raw, err := x.Store.Open(ctx, x.Bucket, key)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	defer raw.Close()
	lines := bufio.NewScanner(raw)
	lines.Buffer(nil, maxFileLine)
	for lines.Scan() {
		var f itemfile.DataFile
		if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if err := errors.Join(ctx.Err(), visit(f)); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// choose returns the exports to import, in order. It fails if changes between two of them are missing.
func (x *Exports) choose(all []*export) ([]*export, error) {
	if len(all) == 0 {
		return nil, errors.New("no export found: there is no manifest-summary.json")
	}
	for _, e := range all {
		if e.TableARN != all[0].TableARN {
			return nil, fmt.Errorf("there are exports of several tables, such as %s and %s: choose one with --source-table", tableOf(all[0].TableARN), tableOf(e.TableARN))
		}
	}
	// Times of manifests sort as text.
	slices.SortFunc(all, func(a, b *export) int { return strings.Compare(a.end(), b.end()) })
	var out []*export
	at := "" // the moment whose state the table has so far
	for _, e := range all {
		if !e.incremental() {
			out, at = []*export{e}, e.end()
		}
	}
	for _, e := range all {
		// Skip what the table already contains.
		if !e.incremental() || e.To <= at {
			continue
		}
		if at != "" && e.From > at {
			return nil, fmt.Errorf("no export has the changes from %s to %s", at, e.From)
		}
		out, at = append(out, e), e.To
	}
	return out, nil
}

// dataKey returns the key of a data file. The manifest names the key in the bucket that was exported to; this bucket may be a copy
// under another prefix.
func (e *export) dataKey(key string) string {
	const root = "AWSDynamoDB/"
	i := strings.LastIndex(key, root)
	if i < 0 {
		return key
	}
	return path.Join(path.Dir(e.folder), key[i+len(root):])
}

// load imports one export, and returns the number of items written.
func (x *Exports) load(ctx context.Context, opt *Options, table string, e *export) (int64, error) {
	s := newSink(ctx, opt, table)
	err := x.files(ctx, e, func(f itemfile.DataFile) error { return x.loadFile(ctx, s, e, f) })
	if err2 := s.finish(); err2 != nil { // it may be the cause of err
		return s.items, err2
	}
	if err == nil && s.items != e.Items {
		err = fmt.Errorf("it has %d items, but should have %d", s.items, e.Items)
	}
	return s.items, err
}

// loadFile imports one data file. It applies records before the checksum is known, so a damaged file fails the import
// at its end.
func (x *Exports) loadFile(ctx context.Context, s *sink, e *export, f itemfile.DataFile) error {
	key := e.dataKey(f.Key)
	raw, err := x.Store.Open(ctx, x.Bucket, key)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	defer raw.Close()
	sum := md5.New()
	in := io.TeeReader(raw, sum)
	r, err := itemfile.NewReader(in, itemfile.Options{Format: e.OutputFormat, Compression: itemfile.Gzip})
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	defer r.Close()
	for {
		chunk, err := r.Next()
		if errors.Is(err, io.EOF) {
			return checkSum(in, sum, f, key)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		for _, rec := range chunk.Records() {
			if rec.Err != nil {
				return fmt.Errorf("%s: %w", key, rec.Err)
			}
			w := write{put: asJSON(rec.Item)}
			if e.incremental() {
				if w = (write{put: asJSON(rec.New)}); rec.New == nil {
					w.key = asJSON(rec.Keys)
				}
			}
			if err := s.add(w); err != nil {
				return err
			}
		}
	}
}

func asJSON(it attribute.Item) json.RawMessage {
	if it == nil {
		return nil
	}
	return it.AppendJSON(nil)
}

// checkSum reads the rest of a file, and compares its checksum with the manifest's.
func checkSum(rest io.Reader, sum hash.Hash, f itemfile.DataFile, key string) error {
	if _, err := io.Copy(io.Discard, rest); err != nil {
		return err
	}
	if got := base64.StdEncoding.EncodeToString(sum.Sum(nil)); f.MD5 != "" && got != f.MD5 {
		return fmt.Errorf("%s is damaged: its MD5 is %s, not %s", key, got, f.MD5)
	}
	return nil
}
