//! URLs.

use alloc::string::ToString;

use crate::IscsiName;
use crate::url::{IscsiUrl, PortalUrl, UrlError};

/// A URL: what is wrong is within it and on whole characters, and what is read is read again from what is shown.
///
/// # Panics
/// If it is not so.
pub fn url(bytes: &[u8]) {
    let Ok(url) = core::str::from_utf8(bytes) else { return };
    let name = IscsiName::new("iqn.2001-04.com.example:host").expect("a name");
    match IscsiUrl::parse(url) {
        Err(error) => wrong(url, error),
        Ok(parsed) => {
            let shown = parsed.to_string();
            let again = IscsiUrl::parse(&shown);
            let again = again.unwrap_or_else(|error| panic!("{url:?}: {}", error.show(&shown)));
            assert_eq!((&again.portal, &again.target), (&parsed.portal, &parsed.target), "{url:?}");
            assert_eq!(
                (again.lun, &again.credentials.user),
                (parsed.lun, &parsed.credentials.user)
            );
            assert_eq!(again.to_string(), shown);
            if let Ok(builder) = parsed.config(name.clone()) {
                let _ = builder.build();
            }
        }
    }
    match PortalUrl::parse(url) {
        Err(error) => wrong(url, error),
        Ok(parsed) => {
            let shown = parsed.to_string();
            let again = PortalUrl::parse(&shown);
            let again = again.unwrap_or_else(|error| panic!("{url:?}: {}", error.show(&shown)));
            assert_eq!(again.portal, parsed.portal, "{url:?}");
            assert_eq!(again.to_string(), shown);
            if let Ok(builder) = parsed.config(name) {
                let _ = builder.build();
            }
        }
    }
}

fn wrong(url: &str, error: UrlError) {
    assert!(url.get(error.range()).is_some(), "{url:?}: {:?}", error.range());
    assert!(error.show(url).to_string().lines().count() >= 2);
}
