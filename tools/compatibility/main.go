// Command compatibility generates the list of operations in docs/compatibility.md from the operation tables, so that the list is always
// true. `make generate` runs it; a test fails if the list is stale.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"slices"
	"strings"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/autoscaling"
	scaleapi "github.com/statordb/stator/internal/autoscaling/api"
	"github.com/statordb/stator/internal/cloudwatch"
	watchapi "github.com/statordb/stator/internal/cloudwatch/api"
	daxapi "github.com/statordb/stator/internal/dax/api"
	"github.com/statordb/stator/internal/dax/control"
	"github.com/statordb/stator/internal/ops"
)

const (
	begin = "<!-- operations: written by `make generate` -->\n"
	end   = "<!-- end of operations -->\n"
)

func main() {
	out := flag.String("out", "docs/compatibility.md", "file to update")
	flag.Parse()
	log.SetFlags(0)
	old, err := os.ReadFile(*out)
	if err != nil {
		log.Fatal(err)
	}
	text, err := update(string(old))
	if err != nil {
		log.Fatalf("%s: %v", *out, err)
	}
	if err := os.WriteFile(*out, []byte(text), 0o644); err != nil {
		log.Fatal(err)
	}
}

// update replaces the text between the marks.
func update(text string) (string, error) {
	before, rest, ok := strings.Cut(text, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return "", fmt.Errorf("the marks %q and %q are missing", begin, end)
	}
	have := map[string]bool{}
	for _, op := range slices.Concat(ops.New(ops.Options{}).Operations(), new(cloudwatch.Service).Operations(), new(autoscaling.Service).Operations(), new(control.Service).Operations()) {
		have[op.Target] = true
	}
	var list string
	for _, service := range []struct {
		name       string
		operations []string
	}{{"DynamoDB", api.DynamoDBOperations}, {"DynamoDB Streams", api.StreamsOperations}, {"CloudWatch", watchapi.CloudWatchOperations}, {"Application Auto Scaling", scaleapi.AutoScalingOperations}, {"DynamoDB Accelerator", daxapi.DAXOperations}} {
		var works, missing []string
		for _, target := range service.operations {
			_, name, _ := strings.Cut(target, ".")
			if have[target] {
				works = append(works, name)
			} else {
				missing = append(missing, name)
			}
		}
		list += fmt.Sprintf("%d of the %d operations of %s work: %s.\n\n", len(works), len(service.operations), service.name, strings.Join(works, ", "))
		if missing != nil {
			list += fmt.Sprintf("The others answer UnknownOperationException: %s.\n\n", strings.Join(missing, ", "))
		}
	}
	return before + begin + strings.TrimSuffix(list, "\n") + end + after, nil
}
