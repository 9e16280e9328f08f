package stator_test

import (
	"fmt"
	"log"
	"net/http"

	"github.com/statordb/stator"
)

// A test starts a private in-memory database on a free port and uses its URL as the SDK's endpoint.
func Example() {
	db, err := stator.Open(stator.Options{InMemory: true, Listen: "127.0.0.1:0"})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	res, err := http.Get(db.URL() + "/readyz")
	if err != nil {
		log.Fatal(err)
	}
	defer res.Body.Close()
	fmt.Println(res.Status)
	// Output: 200 OK
}
