package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/klauspost/compress/gzip"
)

// transferItems is the number of 1 KB items that the section transfer moves.
const transferItems = 1_000_000

// transfer compares ways to load a million items into a table, and measures backup, restore and export of the table.
func transfer() error {
	// The first server gets the items one by one, the second by imports.
	servers, stop, err := start(statorDurable, statorDurable)
	defer stop()
	if err != nil {
		return err
	}
	s := servers[1]
	for _, compression := range []string{"none", "gzip"} {
		if err := writeInput(filepath.Join(s.dir, "s3", "bench", compression), compression == "gzip", transferItems, largeItem); err != nil {
			return err
		}
	}
	c, err := dial(s.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Printf("\n## Moving a table\n\n%d items of 1 KB, durable.\n\n| what | items/s | of BatchWriteItem on one connection | CPU s of the server | memory MB |\n|---|--:|--:|--:|--:|\n", transferItems)
	one := 0.0
	row := func(s *server, what string, items, rounds int, job func(round int) error) error {
		var rates, cpus []float64
		for round := range rounds {
			waitIdle(servers[0])
			waitIdle(servers[1])
			syscall.Sync() // earlier writes must not count
			cpu, began := s.CPU(), time.Now()
			if err := job(round); err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
			rates = append(rates, float64(items)/time.Since(began).Seconds())
			cpus = append(cpus, (s.CPU() - cpu).Seconds())
		}
		rate := median(rates)
		if one == 0 {
			one = rate
		}
		fmt.Printf("| %s | %.0f | %.1f | %.1f | %.0f |\n", what, rate, rate/one, median(cpus), float64(s.RSS())/1e6)
		return nil
	}
	importAgain := func(table, compression string, indexed bool) func(int) error {
		return func(round int) error {
			return importFrom(c, compression, compression == "gzip", table+strings.Repeat("-again", round), indexed)
		}
	}
	batches := 40_000
	arn := ""
	for i, r := range []struct {
		what   string
		items  int
		rounds int
		job    func(round int) error
	}{
		{"BatchWriteItem 25, 1 connection", batches, 5, func(round int) error { return loadFrom(servers[0].Addr, fmt.Sprintf("one-by-one-%d", round), batches) }},
		{"BatchWriteItem 25, 8 connections", 400_000, 1, func(int) error { return loadLarge(servers[0].Addr, 0, 400_000) }},
		{"ImportTable, plain", transferItems, 5, importAgain("plain", "none", false)},
		{"ImportTable, gzip", transferItems, 3, importAgain("zipped", "gzip", false)},
		{"ImportTable, gzip, a GSI with all attributes", transferItems, 1, importAgain("indexed", "gzip", true)},
		{"CreateBackup", transferItems, 1, func(int) error {
			var out struct{ BackupDetails struct{ BackupArn string } }
			if err := callInto(c, &out, "CreateBackup", `{"TableName":"indexed","BackupName":"bench"}`); err != nil {
				return err
			}
			arn = out.BackupDetails.BackupArn
			return waitFor(c, "DescribeBackup", `{"BackupArn":"`+arn+`"}`, `"BackupStatus":"AVAILABLE"`)
		}},
		{"RestoreTableFromBackup, a GSI with all attributes", transferItems, 1, func(int) error {
			if _, err := c.call("RestoreTableFromBackup", `{"BackupArn":"`+arn+`","TargetTableName":"restored"}`); err != nil {
				return err
			}
			return waitFor(c, "DescribeTable", `{"TableName":"`+"restored"+`"}`, `"TableStatus":"ACTIVE"`)
		}},
		{"ExportTableToPointInTime", transferItems, 1, func(int) error {
			if _, err := c.call("UpdateContinuousBackups", `{"TableName":"indexed","PointInTimeRecoverySpecification":{"PointInTimeRecoveryEnabled":true}}`); err != nil {
				return err
			}
			var t struct{ Table struct{ TableArn string } }
			if err := callInto(c, &t, "DescribeTable", `{"TableName":"indexed"}`); err != nil {
				return err
			}
			var e struct{ ExportDescription struct{ ExportArn string } }
			if err := callInto(c, &e, "ExportTableToPointInTime", `{"S3Bucket":"bench","S3Prefix":"out","TableArn":"`+t.Table.TableArn+`"}`); err != nil {
				return err
			}
			return waitFor(c, "DescribeExport", `{"ExportArn":"`+e.ExportDescription.ExportArn+`"}`, `"ExportStatus":"COMPLETED"`)
		}},
	} {
		if err := row(servers[min(i/2, 1)], r.what, r.items, r.rounds, r.job); err != nil {
			return err
		}
	}
	return nil
}

// importFrom imports files of writeInput, which are in a folder of the bucket "bench", into a new table.
func importFrom(c *conn, folder string, zipped bool, table string, indexed bool) error {
	compression, attribute, index := "NONE", "", ""
	if zipped {
		compression = "GZIP"
	}
	if indexed {
		attribute = `,{"AttributeName":"g","AttributeType":"S"}`
		index = `,"GlobalSecondaryIndexes":[{"IndexName":"by-g","KeySchema":[{"AttributeName":"g","KeyType":"HASH"}],"Projection":{"ProjectionType":"ALL"}}]`
	}
	if _, err := c.call("ImportTable", `{"S3BucketSource":{"S3Bucket":"bench","S3KeyPrefix":"`+folder+`/"},"InputFormat":"DYNAMODB_JSON","InputCompressionType":"`+compression+
		`","TableCreationParameters":{"TableName":"`+table+`","BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"pk","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"}`+attribute+`]`+index+`}}`); err != nil {
		return err
	}
	return waitFor(c, "DescribeTable", `{"TableName":"`+table+`"}`, `"TableStatus":"ACTIVE"`)
}

func callInto(c *conn, out any, op, body string) error {
	answer, err := c.call(op, body)
	if err != nil {
		return err
	}
	return json.Unmarshal(answer, out)
}

// jobTimeout bounds the jobs of a server, such as an import.
const jobTimeout = 30 * time.Minute

// waitFor repeats a request until its answer contains a text.
func waitFor(c *conn, op, body, want string) error {
	return waitUntil(c, op, body, want, func(answer string) bool { return strings.Contains(answer, want) })
}

// waitUntil repeats a request until is accepts the answer. what describes such an answer.
func waitUntil(c *conn, op, body, what string, is func(answer string) bool) error {
	for began := time.Now(); time.Since(began) < jobTimeout; time.Sleep(50 * time.Millisecond) {
		answer, err := c.call(op, body)
		if err != nil || is(string(answer)) {
			return err
		}
	}
	return fmt.Errorf("%s does not become %s", op, what)
}

// loadFrom puts n items into a new table on one connection.
func loadFrom(addr, table string, n int) error {
	c, err := dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.call("CreateTable", simpleTable(table, "")); err != nil {
		return err
	}
	for i := 0; i < n; i += 25 {
		if _, err := c.call("BatchWriteItem", `{"RequestItems":{"`+table+`":[`+list(25, func(j int) string { return `{"PutRequest":{"Item":` + largeItem(i+j) + `}}` })+`]}}`); err != nil {
			return err
		}
	}
	return nil
}

// inputFiles is the number of files that writeInput writes.
const inputFiles = 10

// writeInput writes n items to files that ImportTable reads.
func writeInput(dir string, zipped bool, n int, item func(i int) string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return times(inputFiles, func(part int) error {
		file, err := os.Create(filepath.Join(dir, fmt.Sprintf("part-%d.json", part)))
		if err != nil {
			return err
		}
		z, err := gzip.NewWriterLevel(file, gzip.BestSpeed)
		if err != nil {
			return err
		}
		w := bufio.NewWriterSize(file, 1<<20)
		if zipped {
			w = bufio.NewWriterSize(z, 1<<20)
		}
		for i := part; i < n; i += inputFiles {
			fmt.Fprintf(w, "{\"Item\":%s}\n", item(i))
		}
		err = w.Flush()
		if zipped {
			err = errors.Join(err, z.Close())
		}
		return errors.Join(err, file.Close())
	})
}
