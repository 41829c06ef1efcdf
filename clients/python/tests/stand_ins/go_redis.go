// Package redis stands in for github.com/redis/go-redis/v9 where the Go module proxy can't be reached: what the guide's lines call of it, with
// the same signatures, and PUBLISH as Redis takes it.
package redis

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
)

type Options struct{ Addr string }

type Client struct{ options *Options }

type IntCmd struct{ err error }

func ParseURL(redisURL string) (*Options, error) {
	parsed, err := url.Parse(redisURL)
	if err != nil {
		return nil, err
	}
	return &Options{Addr: parsed.Host}, nil
}

func NewClient(options *Options) *Client { return &Client{options} }

func (client *Client) Close() error { return nil }

func (command *IntCmd) Err() error { return command.err }

func (client *Client) Publish(_ context.Context, channel string, message interface{}) *IntCmd {
	connection, err := net.Dial("tcp", client.options.Addr)
	if err != nil {
		return &IntCmd{err}
	}
	defer connection.Close()
	fmt.Fprintf(connection, "*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(channel), channel, len(message.([]byte)), message)
	answer, err := bufio.NewReader(connection).ReadString('\n')
	if err == nil && !strings.HasPrefix(answer, ":") {
		err = fmt.Errorf("redis: %s", answer)
	}
	return &IntCmd{err}
}
