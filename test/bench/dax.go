package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"

	"github.com/statordb/stator/test/process"
)

// acceleration compares GetItem through the DAX client for Go, from a warm cache, with GetItem through the SDK for Go over HTTP. Both
// clients are AWS's; the program named by -daxload uses them.
func acceleration() error {
	if *daxload == "" {
		fmt.Fprintln(os.Stderr, "DAX is left out: -daxload is not given")
		return nil
	}
	accelerator, err := process.FreeAddr()
	if err != nil {
		return err
	}
	servers, stop, err := start(launcher{"Stator durable", true, func(dir string) (*process.Process, error) {
		return process.Stator(*statorBinary, "--data-dir", dir, "--dax-listen", accelerator)
	}})
	defer stop()
	if err != nil {
		return err
	}
	out, err := exec.Command(*daxload, "-endpoint", "http://"+servers[0].Addr, "-dax", "dax://"+accelerator, "-connections", *connections,
		"-rounds", fmt.Sprint(*rounds), "-seconds", fmt.Sprint(*seconds)).Output()
	if err != nil {
		return err
	}
	fmt.Printf("\n## DAX\n\nGetItem of 1,000 items of 1 KB by AWS's clients for Go, eventually consistent; the DAX client reads from a warm cache.\n\n" +
		"| requests at a time | SDK over HTTP, requests/s | DAX, requests/s | ratio | SDK p50 µs | DAX p50 µs | ratio | SDK p99 µs | DAX p99 µs |\n|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	type line struct {
		Connections    int
		Rate, P50, P99 float64
	}
	var all []line
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return err
		}
		all = append(all, l)
	}
	for i := 0; i+1 < len(all); i += 2 {
		sdk, dax := all[i], all[i+1]
		fmt.Printf("| %d | %.0f | %.0f | %.1f | %.0f | %.0f | %.2f | %.0f | %.0f |\n", sdk.Connections, sdk.Rate, dax.Rate, dax.Rate/sdk.Rate, sdk.P50, dax.P50, dax.P50/sdk.P50, sdk.P99, dax.P99)
	}
	return nil
}
