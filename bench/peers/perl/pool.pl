# pool.pl - the lists of the workload with MCE: mce_map, and one task at a time.
# SPDX-License-Identifier: MIT
use strict;
use warnings;
use MCE::Map;
use List::Util qw(sum);
use Time::HiRes qw(time);

my ($rounds, $map_rounds) = (3, 20);
chomp(my $workers = `nproc`);

sub median {
    my @sorted = sort { $a <=> $b } @_;
    return $sorted[ @sorted / 2 ];
}

sub measure {
    my ($name, $count, $times, %options) = @_;
    MCE::Map->init(max_workers => $workers, %options);
    my @values;
    for my $round (0 .. $times) {
        my $began = time;
        my @results = mce_map { 2 * $_ } 1 .. $count;
        push @values, $count / (time - $began) if $round > 0;
        sum(@results) == $count * ($count + 1) or die "wrong answer: $name";
    }
    printf "%s %.6g task/s\n", $name, median(@values);
    MCE::Map->finish;
}

$| = 1;
measure('pool_map', 100_000, $map_rounds);
measure('pool_chunk_1', 10_000, $rounds, chunk_size => 1);
