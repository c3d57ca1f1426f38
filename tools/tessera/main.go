// perron-tessera adds leaves to a new log of Tessera's POSIX driver, from many adders at once, and
// prints what that took as JSON. `perron-bench log` runs it beside its own log.
//
// The leaves are given: a file as an entry bundle, each with two bytes of length before it. An adder
// waits for the place of its leaf before it adds the next: with this driver the leaf is then durable
// and in the tree.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

// The least interval that the POSIX driver takes.
const checkpointInterval = 100 * time.Millisecond

// How often the checkpoint is looked at, as tessera.PublicationAwaiter does for those who wait.
const pollInterval = 2 * time.Millisecond

type report struct {
	Configuration map[string]any `json:"configuration"`
	Entries       int            `json:"entries"`
	Rate          float64        `json:"rate"`
	AddP50        float64        `json:"add_p50"`
	AddP99        float64        `json:"add_p99"`
	CheckpointP50 float64        `json:"checkpoint_p50"`
	CheckpointP99 float64        `json:"checkpoint_p99"`
}

// added is what is known of a leaf once it has its place.
type added struct {
	index       uint64
	begun, done time.Time
}

// published is a size that a checkpoint covered, and when it was seen.
type published struct {
	size uint64
	at   time.Time
}

func main() {
	dir := flag.String("dir", "", "a new directory for the log")
	leaves := flag.String("leaves", "", "a file of leaves, as an entry bundle")
	writers := flag.Int("writers", 1024, "adders at once")
	batch := flag.Uint("batch", 1024, "entries of a batch at most")
	age := flag.Duration("age", 10*time.Millisecond, "age of a batch at most")
	flag.Parse()
	told, err := run(*dir, *leaves, *writers, *batch, *age)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(told)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(dir, leaves string, writers int, batch uint, age time.Duration) (*report, error) {
	entries, err := read(leaves)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signing, _, err := note.GenerateKey(rand.Reader, "authority.bench.perron/bench/1")
	if err != nil {
		return nil, err
	}
	signer, err := note.NewSigner(signing)
	if err != nil {
		return nil, err
	}
	driver, err := posix.New(ctx, posix.Config{Path: dir})
	if err != nil {
		return nil, err
	}
	options := tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithCheckpointInterval(checkpointInterval).
		WithBatching(batch, age)
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, options)
	if err != nil {
		return nil, err
	}
	watching := watch(ctx, reader)
	begun := time.Now()
	places, err := add(ctx, appender, entries, writers)
	if err != nil {
		return nil, err
	}
	took := time.Since(begun)
	heads, err := watching(uint64(len(entries)))
	if err != nil {
		return nil, err
	}
	if err := shutdown(ctx); err != nil {
		return nil, err
	}
	told := summary(places, heads)
	told.Rate = float64(len(entries)) / took.Seconds()
	told.Configuration = map[string]any{
		"tessera":                  version("github.com/transparency-dev/tessera"),
		"go":                       runtime.Version(),
		"driver":                   "posix",
		"batch_max_size":           options.BatchMaxSize(),
		"batch_max_age":            options.BatchMaxAge().String(),
		"checkpoint_interval":      options.CheckpointInterval().String(),
		"pushback_max_outstanding": options.PushbackMaxOutstanding(),
		"garbage_collection":       options.GarbageCollectionInterval().String(),
		"antispam":                 "off",
		"witnesses":                "none",
		"adders":                   writers,
	}
	return told, nil
}

// read gives the leaves of a file.
func read(path string) ([][]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	from := bufio.NewReader(file)
	var leaves [][]byte
	for {
		var length uint16
		if err := binary.Read(from, binary.BigEndian, &length); errors.Is(err, io.EOF) {
			return leaves, nil
		} else if err != nil {
			return nil, err
		}
		leaf := make([]byte, length)
		if _, err := io.ReadFull(from, leaf); err != nil {
			return nil, err
		}
		leaves = append(leaves, leaf)
	}
}

// add lets each adder take one leaf after another until none is left.
func add(ctx context.Context, to *tessera.Appender, leaves [][]byte, writers int) ([]added, error) {
	places := make([]added, len(leaves))
	failed := make([]error, writers)
	var next atomic.Int64
	var adders sync.WaitGroup
	for writer := range writers {
		adders.Add(1)
		go func() {
			defer adders.Done()
			for {
				at := int(next.Add(1)) - 1
				if at >= len(leaves) {
					return
				}
				begun := time.Now()
				place, err := to.Add(ctx, tessera.NewEntry(leaves[at]))()
				if err != nil {
					failed[writer] = err
					return
				}
				places[at] = added{place.Index, begun, time.Now()}
			}
		}()
	}
	adders.Wait()
	return places, errors.Join(failed...)
}

// watch notes each published size until the one that is then asked for is covered.
func watch(ctx context.Context, log tessera.LogReader) func(uint64) ([]published, error) {
	var wanted atomic.Uint64
	wanted.Store(math.MaxUint64)
	var heads []published
	var failed error
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticks := time.NewTicker(pollInterval)
		defer ticks.Stop()
		for seen := uint64(0); seen < wanted.Load(); <-ticks.C {
			checkpoint, err := log.ReadCheckpoint(ctx)
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			var size uint64
			if err == nil {
				size, err = sizeOf(checkpoint)
			}
			if err != nil {
				failed = err
				return
			}
			if size > seen {
				heads = append(heads, published{size, time.Now()})
				seen = size
			}
		}
	}()
	return func(size uint64) ([]published, error) {
		wanted.Store(size)
		<-done
		return heads, failed
	}
}

// sizeOf is the second line of a checkpoint.
func sizeOf(checkpoint []byte) (uint64, error) {
	lines := bytes.SplitN(checkpoint, []byte("\n"), 3)
	if len(lines) < 3 {
		return 0, errors.New("no checkpoint")
	}
	return strconv.ParseUint(string(lines[1]), 10, 64)
}

func summary(places []added, heads []published) *report {
	var adds, covers []float64
	for _, place := range places {
		adds = append(adds, float64(place.done.Sub(place.begun).Microseconds()))
		at, _ := slices.BinarySearchFunc(heads, place.index+1, func(head published, size uint64) int {
			return cmp.Compare(head.size, size)
		})
		if at < len(heads) {
			covers = append(covers, float64(heads[at].at.Sub(place.begun).Microseconds()))
		}
	}
	return &report{
		Entries: len(covers),
		AddP50:  quantile(adds, 0.5), AddP99: quantile(adds, 0.99),
		CheckpointP50: quantile(covers, 0.5), CheckpointP99: quantile(covers, 0.99),
	}
}

// quantile is a sample below which the share lies.
func quantile(samples []float64, share float64) float64 {
	slices.Sort(samples)
	place := int(math.Ceil(share * float64(len(samples))))
	return samples[max(place, 1)-1]
}

// version is what this program was built with.
func version(module string) string {
	built, _ := debug.ReadBuildInfo()
	for _, dependency := range built.Deps {
		if dependency.Path == module {
			return dependency.Version
		}
	}
	return "unknown"
}
