//! Plain counters with names and descriptions, for the owner thread to publish.

/// Declares a struct of counters and an iterator over name, description and value.
macro_rules! counters {
    ($(#[doc = $about:literal])+ $type:ident { $($(#[doc = $doc:literal])+ $name:ident,)+ }) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct $type {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl $type {
            /// Name, description and value of each.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),+), self.$name)),+].into_iter()
            }
        }
    };
}

pub(super) use counters;
