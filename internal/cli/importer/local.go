package importer

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"modernc.org/sqlite" // reads DynamoDB Local's files

	"github.com/statordb/stator/internal/itemfile"
)

// localTable is a table as a data file of DynamoDB Local describes it.
type localTable struct {
	name        string
	read, write int64 // provisioned throughput, in units per second
	onDemand    bool
	info        struct {
		Attributes, LSIList     []any
		GSIList                 []map[string]any
		TimeToLiveAttributeName string
		SQLiteIndex             map[string][]struct {
			DynamoDBAttribute struct{ AttributeName string }
			KeyType           string
		}
	}
	stream string // view type of the stream; "" for no stream
}

const (
	// limitLength is the number of SQLite's limit on the bytes of a value.
	limitLength = 0
	// maxTables bounds the tables of a file ("Quotas in Amazon DynamoDB": 10,000 for an account and region, if AWS
	// raises the quota).
	maxTables = 10_000
)

// checkTable refuses anything but a plain table, since a query of a view may never end.
func checkTable(ctx context.Context, db *sql.Conn, name string) error {
	var is string
	err := db.QueryRowContext(ctx, `SELECT type || substr(sql, 1, 12) FROM sqlite_schema WHERE name = ?`, name).Scan(&is)
	if err == nil && !strings.EqualFold(is, "tableCREATE TABLE") {
		err = fmt.Errorf("%s is not a table", name)
	}
	return err
}

// FromDynamoDBLocal imports all tables of a data file of DynamoDB Local, such as shared-local-instance.db: their
// indexes, settings of TTL and stream, and items. Items are added to tables that exist already; these must have the
// same keys.
func FromDynamoDBLocal(ctx context.Context, file string, opt Options) error {
	if _, err := os.Stat(file); err != nil {
		return err
	}
	all, err := sql.Open("sqlite", "file:"+(&url.URL{Path: file}).EscapedPath()+"?mode=ro&_pragma=query_only(1)&_pragma=trusted_schema(0)")
	if err != nil {
		return err
	}
	defer all.Close()
	db, err := all.Conn(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	// A damaged or hostile file could otherwise make SQLite allocate up to 1 GB per value.
	if _, err := sqlite.Limit(db, limitLength, itemfile.MaxRecord); err != nil {
		return err
	}
	tables, err := localTables(ctx, db)
	if err != nil {
		return fmt.Errorf("%s is not a data file of DynamoDB Local: %w", file, err)
	}
	for _, t := range tables {
		if err := t.load(ctx, db, &opt); err != nil {
			return fmt.Errorf("table %s: %w", t.name, err)
		}
	}
	fmt.Fprintf(opt.Out, "%d tables imported\n", len(tables))
	return nil
}

// localTables reads the descriptions of all tables.
func localTables(ctx context.Context, db *sql.Conn) (list []*localTable, err error) {
	if err := errors.Join(checkTable(ctx, db, "dm"), checkTable(ctx, db, "sm")); err != nil {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, `SELECT TableName, ReadCapacityUnits, WriteCapacityUnits, BillingMode, TableInfo,
		(SELECT StreamInfo FROM sm WHERE sm.TableName = dm.TableName AND StreamStatus = 'ENABLED') FROM dm ORDER BY TableName`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		t := new(localTable)
		var info, stream []byte
		var mode int64
		if err := rows.Scan(&t.name, &t.read, &t.write, &mode, &info, &stream); err != nil {
			return nil, err
		}
		t.onDemand = mode == 1
		if err := json.Unmarshal(info, &t.info); err != nil {
			return nil, fmt.Errorf("table %s: %w", t.name, err)
		}
		if stream != nil {
			var s struct{ StreamViewType string }
			if err := json.Unmarshal(stream, &s); err != nil {
				return nil, fmt.Errorf("stream of table %s: %w", t.name, err)
			}
			t.stream = s.StreamViewType
		}
		if list = append(list, t); len(list) > maxTables {
			return nil, fmt.Errorf("there are more than %d tables", maxTables)
		}
	}
	return list, rows.Err()
}

// request returns the CreateTable request for the table.
func (t *localTable) request() (map[string]any, error) {
	var keys []any
	for _, k := range t.info.SQLiteIndex[""] {
		keys = append(keys, map[string]any{"AttributeName": k.DynamoDBAttribute.AttributeName, "KeyType": k.KeyType})
	}
	if len(keys) == 0 {
		return nil, errors.New("the table's description has no key")
	}
	in := map[string]any{"TableName": t.name, "AttributeDefinitions": t.info.Attributes, "KeySchema": keys, "BillingMode": "PAY_PER_REQUEST"}
	if !t.onDemand {
		in["BillingMode"] = "PROVISIONED"
		in["ProvisionedThroughput"] = map[string]any{"ReadCapacityUnits": t.read, "WriteCapacityUnits": t.write}
	}
	if len(t.info.LSIList) > 0 {
		in["LocalSecondaryIndexes"] = t.info.LSIList
	}
	for _, g := range t.info.GSIList {
		if t.onDemand {
			delete(g, "ProvisionedThroughput")
		}
	}
	if len(t.info.GSIList) > 0 {
		in["GlobalSecondaryIndexes"] = t.info.GSIList
	}
	if t.stream != "" {
		in["StreamSpecification"] = map[string]any{"StreamEnabled": true, "StreamViewType": t.stream}
	}
	return in, nil
}

// load creates the table if necessary, and imports its items.
func (t *localTable) load(ctx context.Context, db *sql.Conn, opt *Options) error {
	exists, err := opt.exists(ctx, t.name)
	if err != nil {
		return err
	}
	if !exists {
		in, err := t.request()
		if err != nil {
			return err
		}
		if err := opt.create(ctx, in); err != nil {
			return err
		}
		if t.info.TimeToLiveAttributeName != "" {
			var out struct{}
			err := opt.Server.Call(ctx, target+"UpdateTimeToLive", map[string]any{
				"TableName": t.name, "TimeToLiveSpecification": map[string]any{"Enabled": true, "AttributeName": t.info.TimeToLiveAttributeName},
			}, &out)
			if err != nil {
				return err
			}
		}
	}
	if err := checkTable(ctx, db, t.name); err != nil {
		return err
	}
	rows, err := db.QueryContext(ctx, `SELECT ObjectJSON FROM "`+strings.ReplaceAll(t.name, `"`, `""`)+`"`)
	if err != nil {
		return err
	}
	defer rows.Close()
	s := newSink(ctx, opt, t.name)
	for err == nil && rows.Next() {
		var item []byte
		if err = rows.Scan(&item); err == nil {
			err = s.add(write{put: item})
		}
	}
	if err2 := s.finish(); err2 != nil {
		return err2
	}
	if err = errors.Join(err, rows.Err()); err == nil {
		fmt.Fprintf(opt.Out, "%d items into %s\n", s.items, t.name)
	}
	return err
}
