// Command compatibility generates two parts of docs/compatibility.md: the list of operations, from the operation tables, and what the
// conformance cases rest on. So both are always true. `make generate` runs it; a test fails if one is stale.
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
	"github.com/statordb/stator/internal/iam"
	iamapi "github.com/statordb/stator/internal/iam/api"
	"github.com/statordb/stator/internal/iam/stsapi"
	"github.com/statordb/stator/internal/ops"
	"github.com/statordb/stator/test/conformance/oracle"
)

func main() {
	out := flag.String("out", "docs/compatibility.md", "file to update")
	cases := flag.String("cases", "test/conformance/testdata", "directory of the conformance cases")
	flag.Parse()
	log.SetFlags(0)
	old, err := os.ReadFile(*out)
	if err != nil {
		log.Fatal(err)
	}
	text, err := update(string(old), *cases)
	if err != nil {
		log.Fatalf("%s: %v", *out, err)
	}
	if err := os.WriteFile(*out, []byte(text), 0o644); err != nil {
		log.Fatal(err)
	}
}

// update writes both parts of the page anew. cases is the directory of the conformance cases.
func update(page, cases string) (string, error) {
	page, err := replace(page, "operations", operations())
	if err != nil {
		return "", err
	}
	sources, err := sources(cases)
	if err != nil {
		return "", err
	}
	return replace(page, "sources", sources)
}

// replace replaces the text between the marks of a part.
func replace(page, part, text string) (string, error) {
	begin, end := "<!-- "+part+": written by `make generate` -->\n", "<!-- end of "+part+" -->\n"
	before, rest, ok := strings.Cut(page, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return "", fmt.Errorf("the marks %q and %q are missing", begin, end)
	}
	return before + begin + text + end + after, nil
}

// sources returns a table of what the conformance cases rest on.
func sources(dir string) (string, error) {
	count, err := oracle.Count(dir)
	if err != nil {
		return "", err
	}
	out := "| the expectation rests on | cases |\n|---|---|\n"
	for _, class := range oracle.Classes {
		if class != oracle.Setup {
			out += fmt.Sprintf("| %s | %d |\n", class, count[class])
		}
	}
	return out, nil
}

// operations returns the list of operations that work, and of those that don't.
func operations() string {
	have := map[string]bool{}
	for _, op := range slices.Concat(ops.New(ops.Options{}).Operations(), new(cloudwatch.Service).Operations(), new(autoscaling.Service).Operations(), new(control.Service).Operations(), new(iam.Service).Operations()) {
		have[op.Target] = true
	}
	var list string
	for _, service := range []struct {
		name       string
		operations []string
		refusal    string // code of the error for operations that are missing
	}{
		{"DynamoDB", api.DynamoDBOperations, "UnknownOperationException"},
		{"DynamoDB Streams", api.StreamsOperations, "UnknownOperationException"},
		{"CloudWatch", watchapi.CloudWatchOperations, "UnknownOperationException"},
		{"Application Auto Scaling", scaleapi.AutoScalingOperations, "UnknownOperationException"},
		{"DynamoDB Accelerator", daxapi.DAXOperations, "UnknownOperationException"},
		{"IAM", iamapi.IAMOperations, "InvalidAction"},
		{"STS", stsapi.STSOperations, "InvalidAction"},
	} {
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
			list += fmt.Sprintf("The others answer %s: %s.\n\n", service.refusal, strings.Join(missing, ", "))
		}
	}
	return strings.TrimSuffix(list, "\n")
}
