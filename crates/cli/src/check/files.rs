//! Whether a file or folder of the configuration can be made, seen from outside: nothing is opened for writing.

use std::path::Path;

use super::finding::Repair;

/// Whether there is room for a file or folder that is not there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Its folder takes it, or the nearest one above that is there.
    There,
    /// It does not: why, and what repairs it.
    None(String, Repair),
}

/// Looks at the folder that a path would be made in, or at the nearest one above. Permissions are those that the file system
/// shows; what else may forbid it shows when it is made.
pub(super) fn room(path: &Path) -> Room {
    let above = path.ancestors().skip(1).find_map(|folder| {
        let folder = match folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => folder,
        };
        Some((folder, std::fs::metadata(folder).ok()?))
    });
    let Some((folder, met)) = above else {
        let why = format!("{} has no folder above it", path.display());
        return Room::None(why, Repair::Step("name a file within a folder".to_owned()));
    };
    if met.is_dir() && !met.permissions().readonly() {
        return Room::There;
    }
    let folder = folder.display();
    let why = format!("not there, and nothing can be made in {folder}");
    let step = format!("make {folder} a folder that the worker may write to");
    Room::None(why, Repair::Step(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_where_a_folder_takes_something_new() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        std::fs::write(&file, "").expect("written");
        assert_eq!(room(&folder.path().join("a/b/c")), Room::There);
        assert_eq!(room(&file), Room::There);
        assert!(matches!(room(&file.join("below")), Room::None(..)));
        let mut locked = std::fs::metadata(folder.path()).expect("there").permissions();
        locked.set_readonly(true);
        std::fs::set_permissions(folder.path(), locked.clone()).expect("set");
        assert!(matches!(room(&folder.path().join("a")), Room::None(..)));
        #[allow(clippy::permissions_set_readonly_false)]
        locked.set_readonly(false);
        std::fs::set_permissions(folder.path(), locked).expect("set");
    }
}
