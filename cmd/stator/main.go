// Command stator is a DynamoDB-compatible database in one binary.
package main

import "github.com/statordb/stator/internal/cli"

func main() { cli.Main() }
