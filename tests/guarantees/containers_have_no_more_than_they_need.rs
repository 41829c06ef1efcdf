//! No container has a right, a port or a name that it doesn't need.

use crate::support::deployment::{compose, texts};

#[test]
fn no_service_has_more_than_it_needs() {
    let compose = compose();
    let services = compose["services"].as_object().expect("a mapping");
    assert_eq!(services.len(), 4);
    for (name, service) in services {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(texts(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(texts(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        assert_eq!(service["restart"], "unless-stopped", "{name}");
        let user = service["user"].as_str().unwrap_or_else(|| panic!("{name} is root"));
        assert!(!user.starts_with("0") && !user.starts_with("root"), "{name}: {user}");
        assert_eq!(service.get("ports").is_some(), name == "nginx", "{name}: nginx is the only way in");
        assert!(service.get("container_name").is_none(), "{name} may be scaled");
    }
    assert_eq!(compose["services"]["gateway"]["deploy"]["replicas"], 3);
    assert_eq!(compose["networks"]["feed"]["internal"], true);
    assert!(!texts(&compose["services"]["nginx"]["networks"]).contains(&"feed"));
}
