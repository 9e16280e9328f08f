//go:build !linux

package main

import "errors"

func runGenerator(job, int) (*measured, error) { return nil, errOnlyLinux }
func generate() error                          { return errOnlyLinux }
func moveTo(int) error                         { return errOnlyLinux }
func onCores([]int, func() error) error        { return errOnlyLinux }

var errOnlyLinux = errors.New("this measurement needs Linux's epoll")
