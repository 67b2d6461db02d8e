#!/bin/sh
echo trapped
