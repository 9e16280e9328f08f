// Command cmd runs every attack of test/abuse for some seconds beside a light client, each on a new server with default flags, and prints a
// table in Markdown.
//
//	make abuse
//
// The attacker and the light client share the machine with the server. The rows of honest clients show what that alone costs.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/statordb/stator/test/abuse"
)

var (
	binary  = flag.String("stator", "bin/stator", "Stator's binary")
	seconds = flag.Duration("long", 10*time.Second, "how long each attack lasts")
	only    = flag.String("run", "", "regular expression for the attacks to run, matched against 'POINT NAME'; empty for all")
	light   = flag.Int("light", -1, "be the light client, starting with this item; for the program itself")
	scratch = flag.String("dir", "", "directory for the servers' data; empty for the system's temporary one")
)

func main() {
	flag.Parse()
	log.SetFlags(0)
	if *light >= 0 {
		if err := abuse.RunLight(os.Stdin, os.Stdout, *light); err != nil {
			log.Fatal(err)
		}
		return
	}
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	pattern, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	program, err := filepath.Abs(*binary)
	if err != nil {
		return err
	}
	fmt.Printf("%d CPUs, %s; each attack for %v beside a client with 100 GetItem and 20 PutItem a second.\n\n", runtime.NumCPU(), runtime.Version(), *seconds)
	fmt.Printf("| point | attack | memory MB | CPUs | p50 ms | p99 ms | errors | afterwards |\n|--:|---|--:|--:|--:|--:|--:|---|\n")
	bad := 0
	for _, a := range append(abuse.Honest(), abuse.Attacks()...) {
		point := "-"
		if a.Point != 0 {
			point = fmt.Sprint(a.Point)
		}
		if !pattern.MatchString(point + " " + a.Name) {
			continue
		}
		dir, err := os.MkdirTemp(*scratch, "stator-abuse")
		if err != nil {
			return err
		}
		row, err := a.Measure(program, dir, *seconds)
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		if err != nil {
			return fmt.Errorf("%s: %w", a.Name, err)
		}
		afterwards := "as before"
		if row.Problem != nil {
			afterwards = firstLine(row.Problem)
			fmt.Fprintf(os.Stderr, "== %s %s\n%v\n", point, a.Name, row.Problem)
			bad++
		}
		fmt.Printf("| %s | %s | %d | %.2f | %.2f | %.2f | %d of %d | %s |\n", point, a.Name, row.Memory/1e6, row.CPU, ms(row.P50), ms(row.P99), row.Errors, row.Requests, afterwards)
	}
	if bad > 0 {
		return fmt.Errorf("%d attacks had an effect", bad)
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// firstLine shortens a problem to what fits into a table.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return strings.ReplaceAll(line[:min(len(line), 120)], "|", "/")
}
