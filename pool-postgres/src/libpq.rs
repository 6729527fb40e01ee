#![doc = include_str!("../libpq.md")]
