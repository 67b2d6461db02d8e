#!/bin/sh
echo embedded
